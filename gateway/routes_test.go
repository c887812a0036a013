package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/gateway/api"
)

// TestTheFrontKnowsTheRoutesOfTheProtoFiles keeps the front's table and the
// annotations from drifting apart.
func TestTheFrontKnowsTheRoutesOfTheProtoFiles(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			Security   []any
			Parameters []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal(api.OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`\{[a-z]+\}`)
	described := func(path, method string, signed bool, query []string) string {
		slices.Sort(query)
		return fmt.Sprint(strings.ToUpper(method), " ", variable.ReplaceAllString(path, "{}"), " signed ", signed, " query ", query)
	}
	var want, got []string
	for path, methods := range doc.Paths {
		for method, op := range methods {
			query := []string{}
			for _, p := range op.Parameters {
				if p.In == "query" {
					query = append(query, p.Name)
				}
			}
			want = append(want, described(path, method, len(op.Security) > 0, query))
		}
	}
	for _, r := range routes {
		got = append(got, described(r.name, r.method, len(r.parties) > 0, append([]string{}, r.query...)))
		if (r.method == http.MethodPost) != (r.maxBody > 0) {
			t.Errorf("%s %s: body limit %d", r.method, r.name, r.maxBody)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("routes of the front:\n%s\nroutes of the .proto files:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
