package com.example.backend;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import jakarta.servlet.http.HttpServletRequest;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import metabase.token.v1.MetabaseTokenServiceGrpc;
import metabase.token.v1.TokenService;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.grpc.client.GrpcChannelFactory;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.bind.annotation.SessionAttribute;
import tools.jackson.databind.json.JsonMapper;

/** Sign-in of demo people, and the endpoint that Metabase's SDK and interactive embedding call. */
@RestController
class Endpoints {
    private static final Logger LOG = LoggerFactory.getLogger(Endpoints.class);
    /** Yours: the user database. */
    private final Map<String, Person> people;
    private final ManagedChannel channel;
    private final String instance;

    Endpoints(Settings settings, JsonMapper json, GrpcChannelFactory channels) {
        people = json.readerForMapOf(Person.class).readValue(settings.peopleFile());
        channel = channels.createChannel(settings.address().getAuthority());
        instance = settings.metabaseInstance();
    }

    record Person(String id, String email, String firstName, String lastName, List<String> groups,
            Map<String, String> attributes) { }

    record Login(String user) { }

    @PostMapping(path = "/login", consumes = "application/json")
    ResponseEntity<Map<String, String>> login(@RequestBody Login login, HttpServletRequest request) {
        // Yours: prove who it is. The demo believes a name.
        if (!people.containsKey(login.user())) {
            return failure(401, "UNKNOWN_USER", "There is no such person.");
        }
        logout(request);
        request.getSession().setAttribute("user", login.user());
        return ResponseEntity.noContent().build();
    }

    @PostMapping("/logout")
    ResponseEntity<Void> logout(HttpServletRequest request) {
        Optional.ofNullable(request.getSession(false)).ifPresent(session -> session.invalidate());
        return ResponseEntity.noContent().build();
    }

    @GetMapping("/sso/metabase")
    ResponseEntity<Map<String, String>> sso(@SessionAttribute(required = false) String user, HttpServletRequest request) {
        var token = tokenFor(user);
        var query = SsoQuery.of(request);
        if (query.wantsJson()) {
            return ResponseEntity.ok(Map.of("jwt", service().issueMetabaseToken(token.build()).getJwt()));
        }
        var issued = service().issueMetabaseToken(token.setReturnTo(query.returnTo()).build());
        return ResponseEntity.status(302).header("Location", issued.getSsoUrl()).build();
    }

    /** What Metabase would say to a token; judged by the service, without an effect. */
    @GetMapping("/sso/metabase/status")
    Map<String, String> status(@SessionAttribute(required = false) String user) {
        var jwt = service().issueMetabaseToken(tokenFor(user).build()).getJwt();
        var check = TokenService.CheckAuthStatusRequest.newBuilder().setInstance(instance).setJwt(jwt).build();
        var judged = service().checkAuthStatus(check);
        judged.getWarningsList().forEach(warning -> LOG.warn("token service: {}", warning));
        String status = judged.getStatus().name().replace("AUTH_STATUS_", "").toLowerCase(Locale.ROOT);
        String reason = judged.getReason().name().replace("AUTH_STATUS_REASON_", "");
        return Map.of("status", status, "reason", reason, "message", judged.getMessage());
    }

    /** For whom the session names, whatever else is in the request; for this one request, so never kept. */
    private TokenService.IssueMetabaseTokenRequest.Builder tokenFor(String user) {
        var person = Optional.ofNullable(people.get(user)).orElseThrow(NotSignedIn::new);
        return TokenService.IssueMetabaseTokenRequest.newBuilder().setInstance(instance)
                .setUser(TokenService.User.newBuilder().setId(person.id()).setEmail(person.email())
                        .setFirstName(person.firstName()).setLastName(person.lastName()))
                .setGroups(TokenService.GroupList.newBuilder().addAllNames(person.groups()))
                .putAllAttributes(person.attributes());
    }

    /** In bounded time: application.properties says how. */
    private MetabaseTokenServiceGrpc.MetabaseTokenServiceBlockingStub service() {
        if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
            channel.resetConnectBackoff(); // Back as soon as the service is; the default waits up to 2 minutes.
        }
        return MetabaseTokenServiceGrpc.newBlockingStub(channel);
    }

    static class NotSignedIn extends RuntimeException { }

    @ExceptionHandler(NotSignedIn.class)
    ResponseEntity<Map<String, String>> notSignedIn() {
        return failure(401, "NOT_SIGNED_IN", "Sign in first.");
    }

    /** What the browser is told when the service fails; nothing of what the service said. */
    @ExceptionHandler
    ResponseEntity<Map<String, String>> failed(StatusRuntimeException error) throws InvalidProtocolBufferException {
        LOG.warn("token service: {}", error.getMessage()); // For operators; never holds a token.
        for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class) && detail.unpack(ErrorInfo.class).getReason().equals("SHARED_ACCOUNT")) {
                return failure(409, "SHARED_ACCOUNT",
                        "Another person uses this e-mail address here; ask for one of your own.");
            }
            if (detail.is(BadRequest.class) && detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                    .anyMatch(violation -> violation.getField().equals("return_to"))) {
                return failure(400, "INVALID_RETURN_TO", "The link leads nowhere in Metabase.");
            }
        }
        return switch (error.getStatus().getCode()) {
            case PERMISSION_DENIED -> failure(403, "NO_ACCESS", "You have no access to these analytics.");
            case RESOURCE_EXHAUSTED -> failure(429, "TOO_MANY_REQUESTS", "Too many people at once; try again.");
            case UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED ->
                failure(503, "TRY_AGAIN", "Analytics cannot sign you in at the moment; try again.");
            // UNAUTHENTICATED too: it is about this backend. As 401 it would send who is signed in to sign in again.
            default -> failure(500, "MISCONFIGURED", "Analytics is not set up correctly.");
        };
    }

    private static ResponseEntity<Map<String, String>> failure(int status, String code, String message) {
        var answer = ResponseEntity.status(status).contentType(MediaType.APPLICATION_JSON);
        if (status == 429 || status == 503) {
            answer.header("Retry-After", "1");
        }
        return answer.body(Map.of("status", "error", "code", code, "message", message));
    }

    /**
     * Whether the SDK asks ({@code response=json}), and where Metabase wants the person back. Metabase appends
     * {@code return_to} at the end, unencoded: then everything behind it belongs to it, {@code ?} and {@code &} too.
     */
    record SsoQuery(boolean wantsJson, String returnTo) {
        static SsoQuery of(HttpServletRequest request) {
            String[] parts = ("&" + request.getQueryString()).split("&return_to=", 2);
            if (parts.length == 2 && parts[1].contains("?")) {
                return new SsoQuery((parts[0] + "&").contains("&response=json&"), parts[1]);
            }
            String returnTo = Optional.ofNullable(request.getParameter("return_to")).orElse("");
            return new SsoQuery("json".equals(request.getParameter("response")), returnTo);
        }
    }
}
