int acme_version_one(void) { return 1; }
int acme_version_two(void) { return 2; }
