// Package pb holds the protobuf messages of onnx-ml.proto, generated under the proto package
// netmend.onnx so that another ONNX binding may live in the same binary. Only package onnx uses it,
// to read and write files; a message that has been read is never changed afterwards.
package pb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go_opt=Mnetmend_onnx_ml.proto=netmend/onnx/internal/pb netmend_onnx_ml.proto
