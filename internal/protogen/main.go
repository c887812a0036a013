// Command protogen makes the generated files of a package from the .proto files
// below its folder proto: messages and gRPC services, and with -rest the REST front,
// converters to ledger documents and the OpenAPI document.
//
// It needs no protoc: files are compiled in this process, imports of other
// projects come from the descriptors that their Go modules carry, and the
// plugins are the tools that go.mod pins. It works in the folder that it is started
// in, as go generate does, and removes what no .proto file makes any more.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	// Registered for the imports of the .proto files.
	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	_ "google.golang.org/genproto/googleapis/api/httpbody"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// plugin is a generator and its parameter, beside the module.
type plugin struct{ tool, param string }

// Their files are disjoint.
var (
	messages = []plugin{{"protoc-gen-go", ""}, {"protoc-gen-go-grpc", ""}}
	front    = []plugin{
		{"protoc-gen-grpc-gateway", ""},
		{"protoc-gen-mirror", ""},
		{"protoc-gen-openapiv2", "allow_merge=true,merge_file_name=vitalveil,json_names_for_fields=false,disable_default_errors=true,output_format=json"},
	}
)

func main() {
	rest := flag.Bool("rest", false, "make the REST front, converters and the OpenAPI document")
	check := flag.Bool("check", false, "change nothing: fail where a file is not what it would be made")
	flag.Parse()
	plugins := messages
	if *rest {
		plugins = append(plugins, front...)
	}
	files, err := generate(plugins)
	switch {
	case err == nil && *check:
		err = compare(files)
	case err == nil:
		err = replace(files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

// generate returns the generated files by path.
func generate(plugins []plugin) (map[string][]byte, error) {
	here, err := exec.Command("go", "list", "-e", "-find", "-f", "{{.ImportPath}}").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	req, err := compile("proto")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, p := range plugins {
		param := p.param
		if param == "" {
			param = "module=" + strings.TrimSpace(string(here))
		}
		made, err := run(p.tool, param, req)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.tool, err)
		}
		maps.Copy(files, made)
	}
	return files, nil
}

// compile parses and links every .proto below root.
func compile(root string) (*pluginpb.CodeGeneratorRequest, error) {
	names, err := protoFiles(root)
	if err != nil {
		return nil, err
	}
	registered := func(p string) (protocompile.SearchResult, error) {
		fd, err := protoregistry.GlobalFiles.FindFileByPath(p)
		return protocompile.SearchResult{Desc: fd}, err
	}
	c := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
			protocompile.ResolverFunc(registered),
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	linked, err := c.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: names}
	seen := map[string]bool{}
	for _, f := range linked {
		addWithImports(req, f, seen)
	}
	return req, describe(req, linked)
}

func protoFiles(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(p, ".proto") {
			return err
		}
		rel, err := filepath.Rel(root, p)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	slices.Sort(names)
	return names, err
}

// addWithImports appends imports before the file, as plugins expect.
func addWithImports(req *pluginpb.CodeGeneratorRequest, f protoreflect.FileDescriptor, seen map[string]bool) {
	if seen[f.Path()] {
		return
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		addWithImports(req, f.Imports().Get(i).FileDescriptor, seen)
	}
	d := protodesc.ToFileDescriptorProto(f)
	if d.SourceCodeInfo == nil { // registered descriptors have none; plugins want one
		d.SourceCodeInfo = &descriptorpb.SourceCodeInfo{}
	}
	req.ProtoFile = append(req.ProtoFile, d)
}

// run gives the request to one plugin and returns the files it made.
func run(tool, param string, req *pluginpb.CodeGeneratorRequest) (map[string][]byte, error) {
	own := proto.CloneOf(req)
	own.Parameter = proto.String(param)
	in, err := proto.Marshal(own)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "tool", tool)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &resp); err != nil {
		return nil, err
	}
	if resp.GetError() != "" {
		return nil, fmt.Errorf("%s", resp.GetError())
	}
	files := map[string][]byte{}
	for _, f := range resp.File {
		name := f.GetName()
		if path.Ext(name) == ".json" {
			name = "v1/openapi.json" // one merged document
		}
		files[name] = []byte(f.GetContent())
	}
	return files, nil
}

// replace writes the files, and removes what was generated beside them before.
// compare tells of the first file that is not current.
func compare(files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		have, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, files[name]) {
			return fmt.Errorf("%s is not current: run go generate", name)
		}
	}
	return nil
}

func replace(files map[string][]byte) error {
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
		old, err := filepath.Glob(filepath.Join(filepath.Dir(name), "*.pb*.go"))
		if err != nil {
			return err
		}
		for _, o := range old {
			if files[filepath.ToSlash(o)] != nil {
				continue
			}
			if err := os.Remove(o); err != nil {
				return err
			}
		}
	}
	return nil
}
