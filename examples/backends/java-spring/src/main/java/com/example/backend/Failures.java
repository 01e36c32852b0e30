package com.example.backend;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.RestControllerAdvice;

/** What the browser is told when something fails; nothing of what the service said. */
@RestControllerAdvice
class Failures {
    private static final Logger LOG = LoggerFactory.getLogger(Failures.class);

    static class Failure extends RuntimeException {
        final int status;
        final String code;

        Failure(int status, String code, String message) {
            super(message);
            this.status = status;
            this.code = code;
        }
    }

    @ExceptionHandler
    ResponseEntity<Map<String, String>> answer(Failure failure) {
        var answer = ResponseEntity.status(failure.status).contentType(MediaType.APPLICATION_JSON);
        if (failure.status == 429 || failure.status == 503) {
            answer.header("Retry-After", "1");
        }
        return answer.body(Map.of("status", "error", "code", failure.code, "message", failure.getMessage()));
    }

    @ExceptionHandler
    ResponseEntity<Map<String, String>> answer(StatusRuntimeException error) throws InvalidProtocolBufferException {
        LOG.warn("token service: {}", error.getMessage()); // For operators; never holds a token.
        for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class) && detail.unpack(ErrorInfo.class).getReason().equals("SHARED_ACCOUNT")) {
                return answer(new Failure(409, "SHARED_ACCOUNT",
                        "Another person uses this e-mail address here; ask for one of your own."));
            }
            if (detail.is(BadRequest.class) && detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                    .anyMatch(violation -> violation.getField().equals("return_to"))) {
                return answer(new Failure(400, "INVALID_RETURN_TO", "The link leads nowhere in Metabase."));
            }
        }
        return answer(switch (error.getStatus().getCode()) {
            case PERMISSION_DENIED -> new Failure(403, "NO_ACCESS", "You have no access to these analytics.");
            case RESOURCE_EXHAUSTED -> new Failure(429, "TOO_MANY_REQUESTS", "Too many people at once; try again.");
            case UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED ->
                new Failure(503, "TRY_AGAIN", "Analytics cannot sign you in at the moment; try again.");
            // UNAUTHENTICATED too: it is about this backend. As 401 it would send who is signed in to sign in again.
            default -> new Failure(500, "MISCONFIGURED", "Analytics is not set up correctly.");
        });
    }
}
