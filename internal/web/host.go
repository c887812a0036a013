package web

import (
	"net"
	"net/http"
	"strconv"
)

// At answers under the names of the address it is served on and no others: a page
// elsewhere, whose name was made to point here, reads nothing.
func At(address net.Addr, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !servedAs(r.Host, address) {
			http.Error(w, "this page is at "+address.String(), http.StatusMisdirectedRequest)
			return
		}
		h(w, r)
	})
}

// servedAs reports whether a Host header names an address: itself, or localhost where
// it is on loopback.
func servedAs(host string, at net.Addr) bool {
	if host == at.String() {
		return true
	}
	own, ok := at.(*net.TCPAddr)
	name, port, err := net.SplitHostPort(host)
	if !ok || err != nil || port != strconv.Itoa(own.Port) {
		return false
	}
	ip := net.ParseIP(name)
	local := name == "localhost" || ip != nil && ip.IsLoopback()
	return own.IP.IsLoopback() && local || own.IP.IsUnspecified() && (local || ip != nil)
}
