package gateway

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// mediaRange is one range of an Accept field, or one media type.
type mediaRange struct {
	kind   string // in lower case
	params map[string]string
}

// parseRange reads a media range; it is nothing's when it cannot be read.
func parseRange(s string) mediaRange {
	kind, params, err := mime.ParseMediaType(s)
	if err != nil {
		return mediaRange{}
	}
	return mediaRange{kind, params}
}

// refused says that the caller does not want what the range names.
func (m mediaRange) refused() bool {
	q, has := m.params["q"]
	weight, err := strconv.ParseFloat(q, 64)
	return has && (err != nil || !(weight > 0))
}

// ranges are the media ranges that a header accepts.
func ranges(h http.Header) []mediaRange {
	var all []mediaRange
	for _, line := range h.Values("Accept") {
		for _, part := range strings.Split(line, ",") {
			if m := parseRange(part); m.kind != "" && !m.refused() {
				all = append(all, m)
			}
		}
	}
	return all
}

// accepts says that a header names a media type itself, and not by a wildcard.
func accepts(h http.Header, kind string) bool {
	for _, m := range ranges(h) {
		if m.kind == kind {
			return true
		}
	}
	return false
}
