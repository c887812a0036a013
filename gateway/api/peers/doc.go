// Package peers holds the signatures of requests against another implementation of
// RFC 9421 and RFC 9530, yaronf/httpsign: what either signs, the other verifies.
//
// It is a module of its own: that library is not needed to build or to run Vitalveil.
package peers
