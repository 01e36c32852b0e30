// Holds deploy/grpc/service-config.json to what grpc-go makes of it, on a server that answers as it is told.
package serviceconfig

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const service = "metabase.token.v1.MetabaseTokenService"

// server answers the first `failures` calls with `code`, the others with success.
type server struct {
	address  string
	calls    atomic.Int32
	deadline atomic.Int64
	health   *health.Server
}

func start(t *testing.T, failures int32, code codes.Code) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: listener.Addr().String(), health: health.NewServer()}
	s.health.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
	answer := func(_ any, stream grpc.ServerStream) error {
		if deadline, ok := stream.Context().Deadline(); ok {
			s.deadline.Store(int64(time.Until(deadline)))
		}
		if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		if s.calls.Add(1) <= failures {
			return status.Error(code, "as told")
		}
		return stream.SendMsg(&emptypb.Empty{})
	}
	one := grpc.NewServer(grpc.UnknownServiceHandler(answer))
	healthpb.RegisterHealthServer(one, s.health)
	go func() { _ = one.Serve(listener) }()
	t.Cleanup(one.Stop)
	return s
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	config, err := os.ReadFile("../../grpc/service-config.json")
	if err != nil {
		t.Fatal(err)
	}
	connection, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(string(config)))
	if err != nil {
		t.Fatalf("grpc-go refuses the service config: %v", err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func call(connection *grpc.ClientConn, method string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return connection.Invoke(ctx, "/"+service+"/"+method, &emptypb.Empty{}, &emptypb.Empty{})
}

func TestUnavailableIsTriedAgain(t *testing.T) {
	for method, attempts := range map[string]int32{"IssueMetabaseToken": 4, "CheckAuthStatus": 2} {
		s := start(t, attempts-1, codes.Unavailable)
		if err := call(dial(t, s.address), method); err != nil || s.calls.Load() != attempts {
			t.Errorf("%s: %v after %d attempts, not success after %d", method, err, s.calls.Load(), attempts)
		}
		s = start(t, 100, codes.Unavailable)
		if err := call(dial(t, s.address), method); status.Code(err) != codes.Unavailable || s.calls.Load() != attempts {
			t.Errorf("%s: %v after %d attempts, not UNAVAILABLE after %d", method, err, s.calls.Load(), attempts)
		}
	}
}

func TestNothingElseIsTriedAgain(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if code == codes.Unavailable {
			continue
		}
		s := start(t, 100, code)
		if err := call(dial(t, s.address), "IssueMetabaseToken"); status.Code(err) != code || s.calls.Load() != 1 {
			t.Errorf("%v: %v after %d attempts", code, err, s.calls.Load())
		}
	}
}

func TestTheServerLearnsTheDeadline(t *testing.T) {
	for method, most := range map[string]time.Duration{"IssueMetabaseToken": 2 * time.Second, "CheckAuthStatus": 15 * time.Second} {
		s := start(t, 0, codes.OK)
		if err := call(dial(t, s.address), method); err != nil {
			t.Fatal(err)
		}
		if left := time.Duration(s.deadline.Load()); left <= 0 || left > most {
			t.Errorf("%s: %v left at the server, not up to %v", method, left, most)
		}
	}
}

// Importing the package health switches the check on; without it the service config asks in vain.
func TestAServerThatDrainsGetsNoCalls(t *testing.T) {
	s := start(t, 0, codes.OK)
	connection := dial(t, s.address)
	if err := call(connection, "IssueMetabaseToken"); err != nil {
		t.Fatal(err)
	}
	s.health.SetServingStatus(service, healthpb.HealthCheckResponse_NOT_SERVING)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for state := connection.GetState(); state.String() != "TRANSIENT_FAILURE"; state = connection.GetState() {
		if !connection.WaitForStateChange(ctx, state) {
			t.Fatalf("still %v", state)
		}
	}
	before := s.calls.Load()
	if err := call(connection, "IssueMetabaseToken"); status.Code(err) != codes.Unavailable || s.calls.Load() != before {
		t.Errorf("%v after %d calls", err, s.calls.Load()-before)
	}
}
