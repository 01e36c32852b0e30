package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log"
	"net/http"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	pb "backend/tokenpb"
)

// A deadline for each RPC with all its tries; only what certainly was not answered is tried again.
const serviceConfig = `{"methodConfig": [{
	"name": [{"service": "metabase.token.v1.MetabaseTokenService"}],
	"timeout": "2s",
	"retryPolicy": {
		"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "0.5s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}
}]}`

// connect connects when first asked. Plaintext is for a mesh's sidecar, or this machine.
func connect(settings Settings) (*grpc.ClientConn, error) {
	security := insecure.NewCredentials()
	if settings.CA != "" {
		ca, err := os.ReadFile(settings.CA)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{RootCAs: x509.NewCertPool()}
		config.RootCAs.AppendCertsFromPEM(ca)
		if settings.Certificate != "" {
			// Read at each handshake, so that a renewed certificate is taken up.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				pair, err := tls.LoadX509KeyPair(settings.Certificate, settings.Key)
				return &pair, err
			}
		}
		security = credentials.NewTLS(config)
	}
	reconnect := backoff.DefaultConfig
	reconnect.MaxDelay = 2 * time.Second // Back soon after the service is; the default waits up to 2 minutes.
	return grpc.NewClient(settings.Address,
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 2 * time.Second}),
		// Notices a peer that vanished without a word.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 5 * time.Second}))
}

// issue gets a token for this person, for this one request: never kept. With returnTo, also the URL to send them to.
func (b *Backend) issue(ctx context.Context, person Person, returnTo *string) (*pb.IssueMetabaseTokenResponse, error) {
	return b.service.IssueMetabaseToken(ctx, &pb.IssueMetabaseTokenRequest{
		Instance:   b.settings.Instance,
		User:       &pb.User{Id: person.ID, Email: person.Email, FirstName: person.FirstName, LastName: person.LastName},
		Groups:     &pb.GroupList{Names: person.Groups},
		Attributes: person.Attributes,
		ReturnTo:   returnTo,
	})
}

// failed answers with an error for the browser, which says nothing of what the service said.
func failed(w http.ResponseWriter, err error) {
	refusal := status.Convert(err)
	log.Printf("token service: %s: %s", refusal.Code(), refusal.Message()) // For operators; never holds a token.
	switch refusal.Code() {
	case codes.PermissionDenied:
		fail(w, http.StatusForbidden, "NO_ACCESS", "You have no access to these analytics.")
		return
	case codes.ResourceExhausted:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "Too many people at once; try again.")
		return
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "TRY_AGAIN", "Analytics cannot sign you in at the moment; try again.")
		return
	}
	for _, detail := range refusal.Details() {
		info, _ := detail.(*errdetails.ErrorInfo)
		if info.GetReason() == "SHARED_ACCOUNT" {
			fail(w, http.StatusConflict, "SHARED_ACCOUNT", "Another person uses this e-mail address here; ask for one of your own.")
			return
		}
		invalid, _ := detail.(*errdetails.BadRequest)
		for _, violation := range invalid.GetFieldViolations() {
			if violation.GetField() == "return_to" {
				fail(w, http.StatusBadRequest, "INVALID_RETURN_TO", "The link leads nowhere in Metabase.")
				return
			}
		}
	}
	// Unauthenticated too: it is about this backend. As 401 it would send who is signed in to sign in, in a circle.
	fail(w, http.StatusInternalServerError, "MISCONFIGURED", "Analytics is not set up correctly.")
}
