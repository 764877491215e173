module pipelineparity.io/test/cluster/pause

go 1.24.6
