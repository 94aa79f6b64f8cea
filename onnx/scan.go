package onnx

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"netmend/onnx/internal/pb"
)

// maxDepth is how deep messages may be nested: the recursion limit of protobuf's C++ reader, which ONNX itself
// uses, so that whatever ONNX can read is read here too.
const maxDepth = 100

// maxMessages bounds the memory that a small file can ask for: an empty message takes two bytes in the file and
// some 500 in memory (its protobuf form and ours), so that messages take at most about 700 MiB beside a model's
// own contents. A network of ten thousand nodes has some fifty thousand messages.
const maxMessages = 1 << 20

// maxStrings bounds the entries of lists of strings in the same way: two bytes in the file, up to 32 in memory.
const maxStrings = 1 << 24

// scanner walks over serialized bytes before they are decoded, counting and naming the place of an error, which
// the protobuf library does not.
type scanner struct {
	messages, strings int
	path              []step
}

// step is one field of the way to the place being scanned.
type step struct {
	field protoreflect.FieldDescriptor // nil: a field that onnx-ml.proto does not have
	index int                          // number of an unknown field, index in a list
}

func (s step) String() string {
	switch {
	case s.field == nil:
		return fmt.Sprintf("unknown field %d", s.index)
	case s.field.IsList():
		return fmt.Sprintf("%s[%d]", s.field.Name(), s.index)
	}
	return string(s.field.Name())
}

// scan refuses bytes that are no ModelProto, are nested too deep or hold too many messages.
func scan(b []byte) error {
	s := scanner{}
	if err := s.message(b, (*pb.ModelProto)(nil).ProtoReflect().Descriptor(), 1); err != nil {
		return fmt.Errorf("onnx: not a model: %s: %w", s.where(), err)
	}
	return nil
}

// where names the place reached, shortened where it is deep.
func (s *scanner) where() string {
	const shown = 8
	var parts []string
	for i, p := range s.path {
		if i == shown && len(s.path) > shown {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, p.String())
	}
	if len(parts) == 0 {
		return "at the top"
	}
	return strings.Join(parts, ".")
}

// message checks one message and those inside it; on an error path is left at its place.
func (s *scanner) message(b []byte, d protoreflect.MessageDescriptor, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("messages are nested deeper than %d", maxDepth)
	}
	var counts [32]int // more than any message of onnx-ml.proto has fields
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		f := d.Fields().ByNumber(num)
		if f == nil {
			if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
				s.path = append(s.path, step{index: int(num)})
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		s.path = append(s.path, step{f, counts[f.Index()]})
		counts[f.Index()]++
		n = protowire.ConsumeFieldValue(num, kind, b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if !wireFits(f, kind) {
			return fmt.Errorf("wire type %d does not fit a field of type %s", kind, f.Kind())
		}
		if f.IsList() && (f.Kind() == protoreflect.StringKind || f.Kind() == protoreflect.BytesKind) {
			if s.strings++; s.strings > maxStrings {
				return fmt.Errorf("the file holds more than %d strings", maxStrings)
			}
		}
		if m := f.Message(); m != nil {
			if s.messages++; s.messages > maxMessages {
				return fmt.Errorf("the file holds more than %d messages", maxMessages)
			}
			v, _ := protowire.ConsumeBytes(b)
			if err := s.message(v, m, depth+1); err != nil {
				return err
			}
		}
		s.path = s.path[:len(s.path)-1]
		b = b[n:]
	}
	return nil
}

// wireFits reports whether a field may come with this wire type. The protobuf library keeps a mistyped field as an
// unknown one; here it means that the file is damaged or no model at all.
func wireFits(f protoreflect.FieldDescriptor, kind protowire.Type) bool {
	var want protowire.Type
	switch f.Kind() {
	case protoreflect.FloatKind:
		want = protowire.Fixed32Type
	case protoreflect.DoubleKind:
		want = protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return kind == protowire.BytesType
	default:
		want = protowire.VarintType
	}
	return kind == want || f.IsList() && kind == protowire.BytesType
}
