// What is answered: sign-in of demo people, and the endpoint that Metabase's SDK and interactive embedding call.
package main

import (
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/rs/cors"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "backend/tokenpb"
)

// Person is an entry of the user database: who it is, as the service is told, and what they may see. The JSON names of the
// former are the generated type's.
type Person struct {
	*pb.User
	Groups     []string
	Attributes map[string]string
}

// People are the demo's, by name.
type People map[string]Person

// UnmarshalText reads them from JSON.
func (p *People) UnmarshalText(text []byte) error {
	return json.Unmarshal(text, (*map[string]Person)(p))
}

// Backend is what requests need to be answered.
type Backend struct {
	people   People              // Yours: the user database.
	sessions *scs.SessionManager // Yours: with a store that outlives the process.
	service  pb.MetabaseTokenServiceClient
	instance string
}

func newHandler(settings Settings, service pb.MetabaseTokenServiceClient) http.Handler {
	sessions := scs.New() // HttpOnly, too.
	sessions.Lifetime = 8 * time.Hour
	sessions.Cookie.Secure = settings.secure()
	sessions.Cookie.SameSite = sameSite[settings.SameSite]
	if settings.secure() {
		sessions.Cookie.Name = "__Host-session" // The prefix keeps sibling subdomains from planting a session of their own.
	}
	b := &Backend{settings.People, sessions, service, settings.Instance}
	mux := http.NewServeMux()
	mux.Handle("POST /login", endpoint(b.login))
	mux.Handle("POST /logout", endpoint(b.logout))
	mux.Handle("GET /sso/metabase", endpoint(b.sso))
	mux.Handle("GET /sso/metabase/status", endpoint(b.status))
	origins := settings.origins()
	// Allows the headers that were asked for.
	policy := cors.New(cors.Options{AllowedOrigins: origins, AllowedHeaders: []string{"*"}, AllowCredentials: true})
	app := policy.Handler(sessions.LoadAndSave(http.MaxBytesHandler(mux, 4096)))
	// CORS only hides answers; this keeps other sites from signing people in and out.
	return endpoint(func(r *http.Request) (http.Handler, error) {
		if origin := r.Header.Get("Origin"); origin != "" && !slices.Contains(origins, origin) {
			return nil, Failure{http.StatusForbidden, "FOREIGN_ORIGIN", "Not from this site."}
		}
		return app, nil
	})
}

// endpoint returns what answers; with an error, that is what is answered.
type endpoint func(*http.Request) (http.Handler, error)

func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	answer, err := e(r)
	if err != nil {
		answer = failureOf(err)
	}
	answer.ServeHTTP(w, r)
}

func (b *Backend) login(r *http.Request) (http.Handler, error) {
	var body struct{ User string }
	isJSON := strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
	if !isJSON || json.NewDecoder(r.Body).Decode(&body) != nil {
		return nil, Failure{http.StatusBadRequest, "INVALID_REQUEST", `Send {"user": "…"} as JSON.`}
	}
	// Yours: prove who it is. The demo believes a name.
	if _, found := b.people[body.User]; !found {
		return nil, Failure{http.StatusUnauthorized, "UNKNOWN_USER", "There is no such person."}
	}
	if err := b.sessions.RenewToken(r.Context()); err != nil {
		return nil, err
	}
	b.sessions.Put(r.Context(), "user", body.User)
	return noContent, nil
}

func (b *Backend) logout(r *http.Request) (http.Handler, error) {
	return noContent, b.sessions.Destroy(r.Context())
}

func (b *Backend) sso(r *http.Request) (http.Handler, error) {
	query := ssoQuery(*r.URL)
	if query.Get("response") == "json" { // The SDK.
		token, err := b.issue(r, nil)
		return object{"jwt": token.GetJwt()}, err
	}
	token, err := b.issue(r, new(query.Get("return_to")))
	return http.RedirectHandler(token.GetSsoUrl(), http.StatusFound), err
}

func (b *Backend) status(r *http.Request) (http.Handler, error) {
	token, err := b.issue(r, nil)
	if err != nil {
		return nil, err
	}
	credential := &pb.CheckAuthStatusRequest_Jwt{Jwt: token.GetJwt()}
	request := &pb.CheckAuthStatusRequest{Instance: b.instance, Credential: credential}
	judged, err := b.service.CheckAuthStatus(r.Context(), request)
	for _, warning := range judged.GetWarnings() {
		log.Print("token service: ", warning) // For operators.
	}
	state := strings.ToLower(strings.TrimPrefix(judged.GetStatus().String(), "AUTH_STATUS_"))
	reason := strings.TrimPrefix(judged.GetReason().String(), "AUTH_STATUS_REASON_")
	return object{"status": state, "reason": reason, "message": judged.GetMessage()}, err
}

// issue gets a token for who is asking: the session says so, and nothing else in the request. It is for this one request,
// and never kept. With returnTo, there is also the URL to send them to.
func (b *Backend) issue(r *http.Request, returnTo *string) (*pb.IssueMetabaseTokenResponse, error) {
	person, found := b.people[b.sessions.GetString(r.Context(), "user")]
	if !found {
		return nil, Failure{http.StatusUnauthorized, "NOT_SIGNED_IN", "Sign in first."}
	}
	return b.service.IssueMetabaseToken(r.Context(), &pb.IssueMetabaseTokenRequest{
		Instance:   b.instance,
		User:       person.User,
		Groups:     &pb.GroupList{Names: person.Groups},
		Attributes: person.Attributes,
		ReturnTo:   returnTo,
	})
}

// ssoQuery reads a query in which Metabase appended return_to without encoding it: everything behind it is a part of it.
func ssoQuery(asked url.URL) url.Values {
	before, returnTo, _ := strings.Cut("&"+asked.RawQuery, "&return_to=")
	if strings.Contains(returnTo, "?") {
		asked.RawQuery = before + "&return_to=" + url.QueryEscape(returnTo)
	}
	return asked.Query()
}

// Failure is an answer for the browser: says nothing of what the service said.
type Failure struct {
	status        int
	code, message string
}

func (f Failure) Error() string { return f.code }

func (f Failure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	object{"status": "error", "code": f.code, "message": f.message}.ServeHTTP(w, r)
}

func failureOf(err error) Failure {
	if failure, ok := errors.AsType[Failure](err); ok {
		return failure
	}
	log.Print(err) // For operators; never holds a token.
	refusal := status.Convert(err)
	for _, detail := range refusal.Details() {
		info, _ := detail.(*errdetails.ErrorInfo)
		invalid, _ := detail.(*errdetails.BadRequest)
		switch {
		case info.GetReason() == "SHARED_ACCOUNT":
			const message = "Another person uses this e-mail address here; ask for one of your own."
			return Failure{http.StatusConflict, "SHARED_ACCOUNT", message}
		case slices.ContainsFunc(invalid.GetFieldViolations(), isReturnTo):
			return Failure{http.StatusBadRequest, "INVALID_RETURN_TO", "The link leads nowhere in Metabase."}
		}
	}
	switch refusal.Code() {
	case codes.PermissionDenied:
		return Failure{http.StatusForbidden, "NO_ACCESS", "You have no access to these analytics."}
	case codes.ResourceExhausted:
		return Failure{http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "Too many people at once; try again."}
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled: // Canceled by a service that stops.
		return Failure{http.StatusServiceUnavailable, "TRY_AGAIN", "Analytics cannot sign you in at the moment; try again."}
	default: // Unauthenticated too: it is about this backend. As 401 it would send who is signed in to sign in, in a circle.
		return Failure{http.StatusInternalServerError, "MISCONFIGURED", "Analytics is not set up correctly."}
	}
}

func isReturnTo(v *errdetails.BadRequest_FieldViolation) bool { return v.GetField() == "return_to" }

// object is an answer as JSON.
type object map[string]string

func (o object) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o)
}

var noContent = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
