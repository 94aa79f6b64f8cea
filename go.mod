module netmend

go 1.26

require google.golang.org/protobuf v1.36.12

require go.yaml.in/yaml/v3 v3.0.6

require github.com/ulikunitz/xz v0.5.17

require github.com/yalue/onnxruntime_go v1.27.0
