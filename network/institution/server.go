package institution

import (
	"context"
	"errors"
	"regexp"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/share"
)

const (
	// maxMessage bounds requests and answers in bytes.
	maxMessage = 1 << 20
	// maxCalls bounds the calls that one member has open at this one.
	maxCalls = 32
	// maxParts bounds the number of a part of a cohort: ten million devices.
	maxParts = 10_000_000 / probePart
)

// shareServer is what other members reach.
type shareServer struct {
	share.UnimplementedInstitutionsServer
	in *Institution
}

var queryPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// GetShare answers the asker of a query; who that is, is what its certificate
// says.
func (s shareServer) GetShare(ctx context.Context, req *share.GetShareRequest) (*share.GetShareResponse, error) {
	caller, err := callerMSP(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	if !queryPattern.MatchString(req.GetQuery()) || req.GetAttempt() >= index.MaxAttempts {
		return nil, toStatus(fault.New(fault.Invalid, "query and attempt do not name a cohort"))
	}
	r, err := s.in.answerer.answer(ctx, caller, req.GetQuery(), int(req.GetAttempt()))
	if err != nil {
		s.in.log.Info("no share", "to", caller, "query", req.GetQuery(), "err", err)
		return nil, toStatus(err)
	}
	return r, nil
}

// GetDetailsKey answers members of the network.
func (s shareServer) GetDetailsKey(ctx context.Context, req *share.GetDetailsKeyRequest) (*share.GetDetailsKeyResponse, error) {
	caller, err := callerMSP(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	r, err := s.in.keyring.give(ctx, caller, req.GetPatient())
	if err != nil {
		return nil, toStatus(err)
	}
	return r, nil
}

// GetProbe answers a member that looks for a device which made a query fail.
func (s shareServer) GetProbe(ctx context.Context, req *share.GetProbeRequest) (*share.GetProbeResponse, error) {
	caller, err := callerMSP(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	if !queryPattern.MatchString(req.GetQuery()) || req.GetPart() > maxParts {
		return nil, toStatus(fault.New(fault.Invalid, "query and part do not name devices of a cohort"))
	}
	r, err := s.in.prober.probe(ctx, caller, req.GetQuery(), int(req.GetPart()))
	if err != nil {
		s.in.log.Info("no shares of a probe", "to", caller, "query", req.GetQuery(), "err", err)
		return nil, toStatus(err)
	}
	return r, nil
}

func callerMSP(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", fault.New(fault.Forbidden, "the caller is not known")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return "", fault.New(fault.Forbidden, "members talk over mutual TLS")
	}
	msp, err := network.PeerMSP(info.State)
	if err != nil {
		return "", fault.New(fault.Forbidden, "%w", err)
	}
	return msp, nil
}

// serve answers other members until ctx ends.
func (in *Institution) serve(ctx context.Context) error {
	if in.cfg.Listen == nil {
		<-ctx.Done()
		return nil
	}
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(in.server)), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxCalls), grpc.ConnectionTimeout(10*time.Second),
		grpc.WaitForHandlers(true), // an answer that is being made needs the vault, which is closed next
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute}))
	share.RegisterInstitutionsServer(srv, shareServer{in: in})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		srv.Stop()
	}()
	err := srv.Serve(in.cfg.Listen)
	if ctx.Err() == nil {
		return err
	}
	<-stopped
	return nil
}

// toStatus carries a fault through gRPC as its text; causes stay here.
func toStatus(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return status.FromContextError(err).Err()
		}
		f = fault.New(fault.Internal, "the member failed; see its log")
	}
	return status.Error(codes.FailedPrecondition, f.Error())
}

// fromStatus reads it back. What gRPC itself reports is that the other side
// cannot be reached.
func fromStatus(err error) error {
	st := status.Convert(err)
	if st.Code() == codes.FailedPrecondition {
		f := fault.Parse(clip(st.Message()))
		return f
	}
	return fault.New(fault.Unavailable, "%s", clip(st.Message()))
}

// clip bounds what another process wrote.
func clip(s string) string { return fault.Clip(s, 500) }
