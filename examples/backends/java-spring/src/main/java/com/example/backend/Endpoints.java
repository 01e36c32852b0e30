package com.example.backend;

import com.example.backend.Failures.Failure;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
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
import org.springframework.http.ResponseEntity;
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
    ResponseEntity<Void> login(@RequestBody Login login, HttpServletRequest request) {
        // Yours: prove who it is. The demo believes a name.
        if (!people.containsKey(login.user())) {
            throw new Failure(401, "UNKNOWN_USER", "There is no such person.");
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
        var person = Optional.ofNullable(people.get(user))
                .orElseThrow(() -> new Failure(401, "NOT_SIGNED_IN", "Sign in first."));
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
