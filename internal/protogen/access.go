package main

import (
	"slices"

	"github.com/bufbuild/protocompile/linker"
	openapi "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2/options"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// describe adds to the methods what the OpenAPI document says of their access option
// and of their answers, so that no .proto file has to repeat it.
func describe(req *pluginpb.CodeGeneratorRequest, files linker.Files) error {
	for _, f := range req.ProtoFile {
		if !slices.Contains(req.FileToGenerate, f.GetName()) {
			continue
		}
		for _, s := range f.Service {
			for _, m := range s.Method {
				if err := describeMethod(m, files); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func describeMethod(m *descriptorpb.MethodDescriptorProto, files linker.Files) error {
	if m.Options == nil {
		return nil
	}
	signed, err := isSigned(m.Options, files)
	if err != nil {
		return err
	}
	if m.Options, err = reread(m.Options, protoregistry.GlobalTypes); err != nil { // as the types that are linked here
		return err
	}
	rule, _ := proto.GetExtension(m.Options, annotations.E_Http).(*annotations.HttpRule)
	if rule == nil {
		return nil
	}
	op, _ := proto.GetExtension(m.Options, openapi.E_Openapiv2Operation).(*openapi.Operation)
	if op == nil {
		op = &openapi.Operation{}
	}
	if signed {
		op.Security = []*openapi.SecurityRequirement{{
			SecurityRequirement: map[string]*openapi.SecurityRequirement_SecurityRequirementValue{"signature": {}},
		}}
	}
	if rule.GetPost() != "" {
		op.Responses = map[string]*openapi.Response{"202": {
			Description: "Accepted; follow the operation.",
			Schema:      &openapi.Schema{JsonSchema: &openapi.JSONSchema{Ref: m.GetOutputType()}},
		}}
	}
	if signed || rule.GetPost() != "" {
		proto.SetExtension(m.Options, openapi.E_Openapiv2Operation, op)
	}
	return nil
}

// isSigned reports whether a method's access option names who signs. The option is one
// that this program was not compiled with.
func isSigned(options *descriptorpb.MethodOptions, files linker.Files) (bool, error) {
	known, err := reread(options, files.AsResolver())
	if err != nil {
		return false, err
	}
	signed := false
	known.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.FullName() == "vitalveil.v1.access" {
			signed = v.Message().Get(f.Message().Fields().ByName("signed_by")).List().Len() > 0
		}
		return true
	})
	return signed, nil
}

func reread(options *descriptorpb.MethodOptions, types protoregistry.ExtensionTypeResolver) (*descriptorpb.MethodOptions, error) {
	b, err := proto.Marshal(options)
	if err != nil {
		return nil, err
	}
	out := &descriptorpb.MethodOptions{}
	return out, proto.UnmarshalOptions{Resolver: types}.Unmarshal(b, out)
}
