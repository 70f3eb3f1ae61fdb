"""File trees of source images, and the scripts of a build run on them in a chroot."""
