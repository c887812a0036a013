#!/usr/bin/env bash
# Hyperledger Fabric 3.1.1: opening a range reads its first 101 keys.
#
# A chaincode that calls GetStateByRange and looks at one key, or at none, depends on
# the first 101: the peer fetches a batch of 100 for the chaincode and looks one key
# further to know whether there are more, and everything that is fetched from the
# ledger's iterator is noted in the transaction's range query
# (core/ledger/kvledger/txmgmt/txmgr/query_executor.go, updateRangeQueryInfo) and
# checked at commit. The comment there says that "the caller may actually not invoke
# the Next() function again"; the caller is the peer's batching, not the chaincode. So
# a change of any of these keys makes the transaction PHANTOM_READ_CONFLICT. The next
# batch, of 100, is fetched with the last key of the one before.
#
# This runs the peer's batching (core/chaincode) over an iterator that counts, and
# fails if the numbers change. It needs Go and its module proxy.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fabric=github.com/hyperledger/fabric@v1.4.0-rc1.0.20250510200036-435a7f1a780a # tag v3.1.1
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	ledger "github.com/hyperledger/fabric/common/ledger"
	"github.com/hyperledger/fabric/core/chaincode"
)

// counting is a ledger's iterator over a thousand keys.
type counting struct{ fetched int }

func (c *counting) Next() (ledger.QueryResult, error) {
	if c.fetched == 1000 {
		return nil, nil
	}
	c.fetched++
	return &queryresult.KV{Key: fmt.Sprintf("%04d", c.fetched)}, nil
}

func (c *counting) Close() {}

func main() {
	keys, tx := &counting{}, &chaincode.TransactionContext{}
	tx.InitializeQueryContext("range", keys)
	peer := &chaincode.QueryResponseGenerator{MaxResultLimit: 100} // as the peer makes it
	for range 2 {
		r, err := peer.BuildQueryResponse(tx, keys, "range", false, 100000)
		if err != nil {
			panic(err)
		}
		fmt.Println(len(r.Results), "handed on,", keys.fetched, "read")
	}
}
GO
export GOFLAGS=-mod=mod CGO_ENABLED=0
go mod init example.com/finding >/dev/null 2>&1
go get "$fabric" >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
source=$(go list -m -f '{{.Dir}}' github.com/hyperledger/fabric)
grep -q 'QueryResponseGenerator{MaxResultLimit: 100}' "$source/core/chaincode/chaincode_support.go"
got=$(go run .)
want='100 handed on, 101 read
100 handed on, 201 read'
echo "$got"
[ "$got" = "$want" ]
