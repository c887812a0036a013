package gateway

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/api/httpbody"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// Kinds of operations.
const (
	kindPatient = "enrol_patient"
	kindConsent = "put_consent"
	kindKeys    = "change_keys"
	kindErase   = "erase"
	kindDevice  = "enrol_device"
	kindUpload  = "upload"
	kindProve   = "prove"
	kindRetire  = "retire_device"
)

// begin journals a write and starts it. Whose it is, is asked only of what is new.
func (rn *runner) begin(ctx context.Context, kind, subject string, r *apiv1.StoredRequest, whose prover) (*apiv1.Operation, error) {
	digest, err := requestDigest(r)
	if err != nil {
		return nil, err
	}
	id := operationID(rn.genesis.Network, kind, callerOf(ctx), digest, rn.ops.journal.secret)
	e := entry{id: id, request: r, state: &apiv1.Operation{
		Id: id.String(), Kind: kind, Subject: subject, Request: digest.String(),
	}}
	if known, err := rn.ops.find(ctx, e); err != nil || known != nil {
		return known, err
	}
	if r.Party, err = whose(ctx); err != nil {
		return nil, err
	}
	state, fresh, err := rn.ops.accept(ctx, e)
	if err != nil {
		return nil, err
	}
	if fresh {
		rn.dispatch(e)
	}
	return state, nil
}

type networkService struct {
	apiv1.UnimplementedNetworkServer
	g *Gateway
}

// GetNetwork implements apiv1.NetworkServer.
func (s networkService) GetNetwork(ctx context.Context, _ *apiv1.GetNetworkRequest) (*apiv1.GetNetworkResponse, error) {
	now, err := evaluate(ctx, s.g.ledger, contracts.ClockNow, struct{}{})
	if err != nil {
		return nil, err
	}
	genesis, err := apiv1.GenesisOf(s.g.genesis)
	return &apiv1.GetNetworkResponse{Genesis: genesis, LedgerTime: now.Time, Height: s.g.index.Height()}, err
}

type blobsService struct {
	apiv1.UnimplementedBlobsServer
	g *Gateway
}

// Get implements apiv1.BlobsServer.
func (s blobsService) Get(ctx context.Context, r *apiv1.GetBlobRequest) (*httpbody.HttpBody, error) {
	if kind := callerOf(ctx).party.Kind; kind != api.PartyMember {
		return nil, fault.New(fault.Forbidden, "only members fetch blobs")
	}
	id, err := record.ParseID(r.Blob)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	data, err := s.g.store.blobs.Get(ctx, id)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return nil, fault.New(fault.NotFound, "blob %s is not stored here", id)
	case errors.Is(err, blob.ErrCorrupt):
		return nil, fault.New(fault.Internal, "blob %s is damaged in store; its device has to send it again", id)
	case err != nil:
		return nil, err
	}
	return &httpbody.HttpBody{ContentType: "application/octet-stream", Data: data}, nil
}

type operationsService struct {
	apiv1.UnimplementedOperationsServer
	g *Gateway
}

// Get implements apiv1.OperationsServer.
func (s operationsService) Get(_ context.Context, r *apiv1.GetOperationRequest) (*apiv1.Operation, error) {
	id, err := record.ParseID(r.Operation)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	state, _, err := s.g.ops.get(id)
	return state, err
}
