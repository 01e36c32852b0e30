package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "backend/tokenpb"
)

// stub stands in for the token service; ../conformance tests this backend before the real one.
type stub struct {
	pb.MetabaseTokenServiceClient
	refusal error
}

func (s stub) IssueMetabaseToken(
	_ context.Context, request *pb.IssueMetabaseTokenRequest, _ ...grpc.CallOption,
) (*pb.IssueMetabaseTokenResponse, error) {
	jwt := "for " + request.GetUser().GetEmail()
	return &pb.IssueMetabaseTokenResponse{Jwt: jwt, SsoUrl: "http://bi" + request.GetReturnTo()}, s.refusal
}

// browse signs a person in and fetches a path.
func browse(refusal error, person, path string) *httptest.ResponseRecorder {
	people := People{"ada": {User: &pb.User{Email: "ada@example.com"}}}
	handler := newHandler(Settings{People: people}, stub{refusal: refusal})
	signIn := httptest.NewRequest("POST", "/login", strings.NewReader(`{"user":"`+person+`"}`))
	signIn.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, signIn)
	request := httptest.NewRequest("GET", path, nil)
	for _, cookie := range answer.Result().Cookies() {
		request.AddCookie(cookie)
	}
	answer = httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer
}

func TestTheSDKGetsATokenForWhoIsSignedIn(t *testing.T) {
	if answer := browse(nil, "nobody", "/sso/metabase?response=json"); answer.Code != http.StatusUnauthorized {
		t.Errorf("nobody: %d", answer.Code)
	}
	answer := browse(nil, "ada", "/sso/metabase?response=json")
	body := strings.TrimSpace(answer.Body.String())
	if answer.Code != http.StatusOK || body != `{"jwt":"for ada@example.com"}` {
		t.Errorf("ada: %d %s", answer.Code, body)
	}
	if to := browse(nil, "ada", "/sso/metabase?return_to=/a?b&c").Header().Get("Location"); to != "http://bi/a?b&c" {
		t.Errorf("sent to %s", to)
	}
}

func TestARefusalIs403(t *testing.T) {
	refusal := status.Error(codes.PermissionDenied, "for operators")
	answer := browse(refusal, "ada", "/sso/metabase?response=json")
	if body := answer.Body.String(); answer.Code != http.StatusForbidden || strings.Contains(body, "operators") {
		t.Errorf("%d %s", answer.Code, body)
	}
}

func TestTheQueryIsReadAsMetabaseWritesIt(t *testing.T) {
	for query, expected := range map[string]string{
		"return_to=%2Fa%3Fb%26c":           "/a?b&c",
		"x=1&return_to=/a?b&response=json": "/a?b&response=json",
	} {
		if own := ssoQuery(url.URL{RawQuery: query}); own.Has("response") || own.Get("return_to") != expected {
			t.Errorf("%s: %v", query, own)
		}
	}
	if ssoQuery(url.URL{RawQuery: "response=json"}).Get("response") != "json" {
		t.Error("response=json is not seen")
	}
}

func TestAnEmptyCAIsNoReasonForPlaintext(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("METABASE_TOKEN_SERVICE_TLS_CA", ca)
	for _, address := range []string{"http://localhost:1", "https://localhost:1"} {
		t.Setenv("METABASE_TOKEN_SERVICE_ADDRESS", address)
		settings, err := env.ParseAs[Settings]()
		_, unusable := connect(settings)
		if err = errors.Join(err, settings.check(), unusable); err == nil || !strings.Contains(err.Error(), "TLS_CA") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
