package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/hyperledger/fabric-sdk-go/pkg/client/resmgmt"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/errors/retry"
	"github.com/hyperledger/fabric-sdk-go/pkg/core/config"
	"github.com/hyperledger/fabric-sdk-go/pkg/fabsdk"
)

// maxInput bounds each file that is read, in bytes: profile, package, collections.
const maxInput = 16 << 20

// stepTimeout bounds one step on one channel.
const stepTimeout = 90 * time.Second

// session is one administrator at work.
type session struct {
	ctx       context.Context
	path, org string // the profile and the organisation that acts in it
	sdk       *fabsdk.FabricSDK
	resources *resmgmt.Client
	peers     []string // of the organisation
	allPeers  []string // that the profile names
}

func open(ctx context.Context, path, org, user string) (*session, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	sdk, err := fabsdk.New(config.FromRaw(data, "json"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &session{ctx: ctx, path: path, org: org, sdk: sdk}
	if err := s.start(org, user); err != nil {
		sdk.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) start(org, user string) error {
	identity := s.sdk.Context(fabsdk.WithOrg(org), fabsdk.WithUser(user))
	client, err := identity()
	if err != nil {
		return fmt.Errorf("%s of %s: %w", user, org, err)
	}
	known := client.EndpointConfig().NetworkConfig()
	own, ok := known.Organizations[strings.ToLower(org)]
	if !ok || len(own.Peers) == 0 {
		return fmt.Errorf("the profile names no peers of %q", org)
	}
	s.peers = own.Peers
	for _, o := range known.Organizations {
		s.allPeers = append(s.allPeers, o.Peers...)
	}
	s.resources, err = resmgmt.New(identity)
	return err
}

func (s *session) close() { s.sdk.Close() }

// options are those of every step: on the organisation's own peers, unless
// others are named, bounded, and again after transient failures.
func (s *session) options(peers ...string) []resmgmt.RequestOption {
	if len(peers) == 0 {
		peers = s.peers
	}
	return []resmgmt.RequestOption{
		resmgmt.WithTargetEndpoints(peers...),
		resmgmt.WithRetry(retry.DefaultResMgmtOpts),
		resmgmt.WithParentContext(s.ctx),
		resmgmt.WithTimeout(0, stepTimeout),
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxInput)
	}
	if len(data) == 0 {
		return nil, errors.New(path + " is empty")
	}
	return data, nil
}
