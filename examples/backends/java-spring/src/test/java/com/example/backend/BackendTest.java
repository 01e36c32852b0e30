package com.example.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.springframework.test.web.servlet.request.MockMvcRequestBuilders.get;
import static org.springframework.test.web.servlet.request.MockMvcRequestBuilders.post;

import io.grpc.Status;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import metabase.token.v1.MetabaseTokenServiceGrpc.MetabaseTokenServiceImplBase;
import metabase.token.v1.TokenService.IssueMetabaseTokenRequest;
import metabase.token.v1.TokenService.IssueMetabaseTokenResponse;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.boot.webmvc.test.autoconfigure.AutoConfigureMockMvc;
import org.springframework.mock.web.MockHttpServletResponse;
import org.springframework.mock.web.MockHttpSession;
import org.springframework.test.web.servlet.MockMvc;

/** This backend alone, with a token service that is made up. ../conformance tests it before the real one. */
@SpringBootTest(properties = "METABASE_TOKEN_SERVICE_ADDRESS=http://in-process:stub")
@AutoConfigureMockMvc
class BackendTest {
    @Autowired
    private MockMvc http;

    @BeforeAll
    static void startStub() throws IOException {
        InProcessServerBuilder.forName("stub").addService(new Stub()).build().start();
    }

    private static class Stub extends MetabaseTokenServiceImplBase {
        @Override
        public void issueMetabaseToken(IssueMetabaseTokenRequest request, StreamObserver<IssueMetabaseTokenResponse> answer) {
            String email = request.getUser().getEmail();
            if (email.endsWith("@partner.example")) {
                answer.onError(Status.PERMISSION_DENIED.withDescription("for operators").asRuntimeException());
                return;
            }
            answer.onNext(IssueMetabaseTokenResponse.newBuilder().setJwt("for " + email)
                    .setSsoUrl("http://bi" + request.getReturnTo()).build());
            answer.onCompleted();
        }
    }

    private MockHttpServletResponse browse(String user, String path) throws Exception {
        var signIn = post("/login").contentType("application/json").content("{\"user\":\"" + user + "\"}");
        var session = (MockHttpSession) http.perform(signIn).andReturn().getRequest().getSession();
        return http.perform(get(java.net.URI.create(path)).session(session)).andReturn().getResponse();
    }

    @Test
    void theSdkGetsATokenForWhoIsSignedIn() throws Exception {
        assertEquals(401, browse("nobody", "/sso/metabase?response=json").getStatus());
        assertEquals("{\"jwt\":\"for ada@example.com\"}", browse("ada", "/sso/metabase?response=json").getContentAsString());
        assertEquals("http://bi/a?b&c", browse("ada", "/sso/metabase?return_to=/a?b&c").getHeader("Location"));
    }

    @Test
    void aRefusalIs403() throws Exception {
        assertEquals(403, browse("alan", "/sso/metabase?response=json").getStatus());
    }

    @Test
    void theQueryIsReadAsMetabaseWritesIt() throws Exception {
        assertEquals("http://bi/a?b&c", browse("ada", "/sso/metabase?return_to=%2Fa%3Fb%26c").getHeader("Location"));
        assertEquals("http://bi/a?b&response=json",
                browse("ada", "/sso/metabase?x=1&return_to=/a?b&response=json").getHeader("Location"));
        assertEquals(200, browse("ada", "/sso/metabase?response=json&return_to=/a?b").getStatus());
    }
}
