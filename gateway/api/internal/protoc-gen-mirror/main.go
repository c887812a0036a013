// Command protoc-gen-mirror is a plugin of internal/protogen. For the file
// documents.proto it makes converters between the messages and the ledger documents
// that they mirror, and refuses where the two differ in any field. For each file with
// services it makes servers that run something around every method, as an interceptor
// does where there is a connection between.
package main

import (
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

func main() {
	protogen.Options{}.Run(func(p *protogen.Plugin) error {
		for _, f := range p.Files {
			if f.Generate && strings.HasSuffix(f.Desc.Path(), "/documents.proto") {
				if err := mirrored(p, f); err != nil {
					return err
				}
			}
			if f.Generate && len(f.Services) > 0 {
				around(p, f)
			}
		}
		return nil
	})
}
