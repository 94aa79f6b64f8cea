module netmend

go 1.26

require google.golang.org/protobuf v1.36.12

require go.yaml.in/yaml/v3 v3.0.6

require (
	github.com/ulikunitz/xz v0.5.17
	github.com/urfave/cli/v2 v2.27.7
)

require (
	github.com/cpuguy83/go-md2man/v2 v2.0.7 // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	github.com/xrash/smetrics v0.0.0-20240521201337-686a1a2994c1 // indirect
)
