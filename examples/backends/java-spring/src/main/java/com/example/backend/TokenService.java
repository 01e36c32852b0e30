package com.example.backend;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.ConnectivityState;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import java.io.File;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.Predicate;
import metabase.token.v1.MetabaseTokenServiceGrpc;
import metabase.token.v1.MetabaseTokenServiceGrpc.MetabaseTokenServiceBlockingStub;
import metabase.token.v1.TokenService.CheckAuthStatusRequest;
import metabase.token.v1.TokenService.CheckAuthStatusResponse;
import metabase.token.v1.TokenService.GroupList;
import metabase.token.v1.TokenService.IssueMetabaseTokenRequest;
import metabase.token.v1.TokenService.IssueMetabaseTokenResponse;
import metabase.token.v1.TokenService.User;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Asks metabase-token-service for tokens, in bounded time, and says in HTTP what it answers. */
class TokenService {
    private static final Logger LOG = LoggerFactory.getLogger(TokenService.class);
    /** For an RPC with all its tries. */
    private static final long DEADLINE_SECONDS = 2;
    private static final Map<String, ?> RETRIES = Map.of("methodConfig", List.of(Map.of(
            "name", List.of(Map.of("service", MetabaseTokenServiceGrpc.SERVICE_NAME)),
            "retryPolicy", Map.of("maxAttempts", 3.0, "initialBackoff", "0.1s", "maxBackoff", "0.5s",
                    "backoffMultiplier", 2.0, "retryableStatusCodes", List.of("UNAVAILABLE")))));

    private final ManagedChannel channel;
    private final String instance;

    TokenService(ManagedChannel channel, String instance) {
        this.channel = channel;
        this.instance = instance;
    }

    /** Connects when first asked. Plaintext is for a mesh's sidecar, or this machine. */
    static TokenService connect(Settings settings) throws IOException {
        var credentials = InsecureChannelCredentials.create();
        if (!settings.ca().isEmpty()) {
            var tls = TlsChannelCredentials.newBuilder().trustManager(new File(settings.ca()));
            if (!settings.certificate().isEmpty()) {
                tls.keyManager(new File(settings.certificate()), new File(settings.key()));
            }
            credentials = tls.build();
        }
        var channel = Grpc.newChannelBuilder(settings.address().getAuthority(), credentials)
                .defaultServiceConfig(RETRIES).enableRetry()
                // Notices a peer that vanished without a word.
                .keepAliveTime(30, TimeUnit.SECONDS).keepAliveTimeout(5, TimeUnit.SECONDS)
                .build();
        return new TokenService(channel, settings.metabaseInstance());
    }

    /** A token for this person, for this one request: never kept. With returnTo, also the URL to send them to. */
    IssueMetabaseTokenResponse issue(Person person, String returnTo) {
        var request = IssueMetabaseTokenRequest.newBuilder().setInstance(instance)
                .setUser(User.newBuilder().setId(person.id()).setEmail(person.email())
                        .setFirstName(person.firstName()).setLastName(person.lastName()))
                .setGroups(GroupList.newBuilder().addAllNames(person.groups()))
                .putAllAttributes(person.attributes());
        if (returnTo != null) {
            request.setReturnTo(returnTo);
        }
        return ask(stub -> stub.issueMetabaseToken(request.build()));
    }

    /** What Metabase would say to the token; judged by the service, without an effect. */
    CheckAuthStatusResponse check(String jwt) {
        var request = CheckAuthStatusRequest.newBuilder().setInstance(instance).setJwt(jwt).build();
        var judged = ask(stub -> stub.checkAuthStatus(request));
        judged.getWarningsList().forEach(warning -> LOG.warn("token service: {}", warning));
        return judged;
    }

    private <T> T ask(Function<MetabaseTokenServiceBlockingStub, T> rpc) {
        if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
            channel.resetConnectBackoff(); // Back as soon as the service is; the default waits up to 2 minutes.
        }
        try {
            return rpc.apply(MetabaseTokenServiceGrpc.newBlockingStub(channel)
                    .withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS));
        } catch (StatusRuntimeException error) {
            // For operators; never holds a token.
            LOG.warn("token service: {}", error.getMessage());
            throw failure(error);
        }
    }

    private static Failure failure(StatusRuntimeException error) {
        return switch (error.getStatus().getCode()) {
            case PERMISSION_DENIED -> new Failure(403, "NO_ACCESS", "You have no access to these analytics.");
            case RESOURCE_EXHAUSTED -> new Failure(429, "TOO_MANY_REQUESTS", "Too many people at once; try again.");
            case UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED ->
                new Failure(503, "TRY_AGAIN", "Analytics cannot sign you in at the moment; try again.");
            case FAILED_PRECONDITION -> has(error, ErrorInfo.class, info -> info.getReason().equals("SHARED_ACCOUNT"))
                    ? new Failure(409, "SHARED_ACCOUNT", "Another person uses this e-mail address here; ask for one of your own.")
                    : new Failure(500, "MISCONFIGURED", "Analytics is not set up correctly.");
            // UNAUTHENTICATED too: it is about this backend. As 401 it would send who is signed in to sign in again.
            default -> has(error, BadRequest.class, TokenService::isAboutReturnTo)
                    ? new Failure(400, "INVALID_RETURN_TO", "The link leads nowhere in Metabase.")
                    : new Failure(500, "MISCONFIGURED", "Analytics is not set up correctly.");
        };
    }

    private static boolean isAboutReturnTo(BadRequest invalid) {
        return invalid.getFieldViolationsList().stream().anyMatch(violation -> violation.getField().equals("return_to"));
    }

    private static <T extends Message> boolean has(StatusRuntimeException error, Class<T> type, Predicate<T> is) {
        try {
            for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
                if (detail.is(type) && is.test(detail.unpack(type))) {
                    return true;
                }
            }
            return false;
        } catch (InvalidProtocolBufferException malformed) {
            return false;
        }
    }
}
