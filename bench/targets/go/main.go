// A token issuer as a team would write it in Go: the same contract, claims and checks. `issuer ADDRESS`, with the secret in
// JWT_SHARED_SECRET.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log"
	"net"
	"net/mail"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"bench-go/tokenpb"
)

const (
	defaultLifetime = 600
	mostLifetime    = 3600
	backdated       = 5
	maxAge          = 180
)

type issuer struct {
	tokenpb.UnimplementedMetabaseTokenServiceServer
	secret []byte
}

func violations(request *tokenpb.IssueMetabaseTokenRequest) []string {
	user := request.GetUser()
	if user == nil {
		return []string{"user: required"}
	}
	var found []string
	address, err := mail.ParseAddress(user.GetEmail())
	if err != nil || address.Address != user.GetEmail() || len(user.GetEmail()) > 254 {
		found = append(found, "user.email: not an e-mail address")
	}
	for field, name := range map[string]string{"first_name": user.GetFirstName(), "last_name": user.GetLastName()} {
		if strings.TrimSpace(name) == "" || len(name) > 254 {
			found = append(found, "user."+field+": 1 to 254 characters")
		}
	}
	if lifetime := request.GetLifetime(); lifetime != nil {
		if lifetime.GetNanos() != 0 || lifetime.GetSeconds() < 60 || lifetime.GetSeconds() > mostLifetime {
			found = append(found, "lifetime: whole seconds, 60 to 3600")
		}
	}
	return found
}

func (i *issuer) IssueMetabaseToken(
	_ context.Context, request *tokenpb.IssueMetabaseTokenRequest,
) (*tokenpb.IssueMetabaseTokenResponse, error) {
	if found := violations(request); len(found) > 0 {
		return nil, status.Error(codes.InvalidArgument, strings.Join(found, "; "))
	}
	issued := time.Now().Unix() - backdated
	expires := issued + defaultLifetime
	if request.GetLifetime() != nil {
		expires = issued + request.GetLifetime().GetSeconds()
	}
	user := request.GetUser()
	claims := jwt.MapClaims{
		"email":      strings.ToLower(user.GetEmail()),
		"first_name": user.GetFirstName(),
		"last_name":  user.GetLastName(),
		"iat":        issued,
		"exp":        expires,
	}
	if groups := request.GetGroups(); groups != nil {
		claims["groups"] = groups.GetNames()
	}
	for name, value := range request.GetAttributes() {
		claims[name] = value
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(i.secret)
	if err != nil {
		return nil, status.Error(codes.Internal, "not signed")
	}
	digest := sha256.Sum256([]byte(token))
	return &tokenpb.IssueMetabaseTokenResponse{
		Jwt:              token,
		IssueTime:        &timestamppb.Timestamp{Seconds: issued},
		ExpireTime:       &timestamppb.Timestamp{Seconds: expires},
		ExchangeDeadline: &timestamppb.Timestamp{Seconds: min(expires, issued+maxAge)},
		TokenFingerprint: hex.EncodeToString(digest[:8]),
	}, nil
}

func main() {
	secret := os.Getenv("JWT_SHARED_SECRET")
	if secret == "" || len(os.Args) != 2 {
		log.Fatal("usage: JWT_SHARED_SECRET=... issuer ADDRESS")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.MaxRecvMsgSize(64*1024),
		grpc.NumStreamWorkers(uint32(runtime.GOMAXPROCS(0))),
		grpc.SharedWriteBuffer(true),
	)
	tokenpb.RegisterMetabaseTokenServiceServer(server, &issuer{secret: []byte(secret)})
	healthpb.RegisterHealthServer(server, health.NewServer())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
