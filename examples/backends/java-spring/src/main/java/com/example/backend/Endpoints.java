package com.example.backend;

import static java.nio.charset.StandardCharsets.UTF_8;

import jakarta.servlet.http.HttpServletRequest;
import java.net.URI;
import java.net.URLDecoder;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

/** Sign-in of demo people, and the endpoint that Metabase's SDK and interactive embedding call. */
@RestController
class Endpoints {
    private final Map<String, Person> people;
    private final TokenService tokens;

    Endpoints(Map<String, Person> people, TokenService tokens) {
        this.people = people;
        this.tokens = tokens;
    }

    record Login(String user) {
    }

    @PostMapping(path = "/login", consumes = MediaType.APPLICATION_JSON_VALUE)
    @ResponseStatus(HttpStatus.NO_CONTENT)
    void login(@RequestBody Login login, HttpServletRequest request) {
        // Yours: prove who it is. The demo believes a name.
        if (login.user() == null || !people.containsKey(login.user())) {
            throw new Failure(401, "UNKNOWN_USER", "There is no such person.");
        }
        logout(request);
        request.getSession().setAttribute("user", login.user());
    }

    @PostMapping("/logout")
    @ResponseStatus(HttpStatus.NO_CONTENT)
    void logout(HttpServletRequest request) {
        Optional.ofNullable(request.getSession(false)).ifPresent(session -> session.invalidate());
    }

    @GetMapping("/sso/metabase")
    ResponseEntity<Map<String, String>> sso(HttpServletRequest request) {
        Person person = signedIn(request);
        SsoQuery query = SsoQuery.parse(Optional.ofNullable(request.getQueryString()).orElse(""));
        if (query.wantsJson()) {
            return ResponseEntity.ok(Map.of("jwt", tokens.issue(person, null).getJwt()));
        }
        return ResponseEntity.status(HttpStatus.FOUND)
                .location(URI.create(tokens.issue(person, query.returnTo()).getSsoUrl())).build();
    }

    @GetMapping("/sso/metabase/status")
    Map<String, String> status(HttpServletRequest request) {
        var judged = tokens.check(tokens.issue(signedIn(request), null).getJwt());
        return Map.of(
                "status", judged.getStatus().name().replace("AUTH_STATUS_", "").toLowerCase(Locale.ROOT),
                "reason", judged.getReason().name().replace("AUTH_STATUS_REASON_", ""),
                "message", judged.getMessage());
    }

    /** Who is asking: the session says so, and nothing else in the request. */
    private Person signedIn(HttpServletRequest request) {
        return Optional.ofNullable(request.getSession(false)).map(session -> people.get(session.getAttribute("user")))
                .orElseThrow(() -> new Failure(401, "NOT_SIGNED_IN", "Sign in first."));
    }

    @ExceptionHandler
    ResponseEntity<Map<String, String>> answer(Failure failure) {
        var answer = ResponseEntity.status(failure.status).contentType(MediaType.APPLICATION_JSON);
        if (failure.status == 429 || failure.status == 503) {
            answer.header("Retry-After", "1");
        }
        return answer.body(Map.of("status", "error", "code", failure.code, "message", failure.getMessage()));
    }

    /**
     * Whether the SDK asks ({@code response=json}), and where Metabase wants the person back. Metabase appends
     * {@code return_to} at the end, unencoded: then everything behind it belongs to it, {@code ?} and {@code &} too.
     */
    record SsoQuery(boolean wantsJson, String returnTo) {
        static SsoQuery parse(String query) {
            String[] parts = ("&" + query).split("&return_to=", 2);
            boolean unencoded = parts.length == 2 && parts[1].contains("?");
            String own = unencoded ? parts[0] : query;
            String returnTo = unencoded ? parts[1] : parameter(own, "return_to");
            return new SsoQuery(parameter(own, "response").equals("json"), returnTo);
        }

        private static String parameter(String query, String name) {
            return Stream.of(query.split("&")).filter(pair -> pair.startsWith(name + "=")).findFirst()
                    .map(pair -> URLDecoder.decode(pair.substring(name.length() + 1), UTF_8)).orElse("");
        }
    }
}
