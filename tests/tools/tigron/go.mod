// Stands in for nerdctl's test framework, which is published only as a folder
// of nerdctl's repository and which nerdctl's program links by accident.
module github.com/containerd/nerdctl/mod/tigron

go 1.26
