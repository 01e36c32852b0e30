package bench;

import com.google.protobuf.Timestamp;
import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.crypto.MACSigner;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Date;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import metabase.token.v1.MetabaseTokenServiceGrpc;
import metabase.token.v1.TokenService.IssueMetabaseTokenRequest;
import metabase.token.v1.TokenService.IssueMetabaseTokenResponse;
import metabase.token.v1.TokenService.User;

/** Issues tokens: the same contract, claims and checks. */
final class Issuer extends MetabaseTokenServiceGrpc.MetabaseTokenServiceImplBase {
  private static final Pattern EMAIL = Pattern.compile("[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9-]+(\\.[a-z0-9-]+)+");
  private static final JWSHeader HEADER = new JWSHeader.Builder(JWSAlgorithm.HS256).type(JOSEObjectType.JWT).build();
  private static final long DEFAULT_LIFETIME = 600;
  private static final long MOST_LIFETIME = 3600;
  private static final long BACKDATED = 5;
  private static final long MAX_AGE = 180;

  private final MACSigner signer;

  Issuer(String secret) throws JOSEException {
    signer = new MACSigner(secret.getBytes(StandardCharsets.UTF_8));
  }

  @Override
  public void issueMetabaseToken(
      IssueMetabaseTokenRequest request, StreamObserver<IssueMetabaseTokenResponse> answer) {
    List<String> found = violations(request);
    if (!found.isEmpty()) {
      answer.onError(Status.INVALID_ARGUMENT.withDescription(String.join("; ", found)).asRuntimeException());
      return;
    }
    try {
      answer.onNext(issue(request));
      answer.onCompleted();
    } catch (JOSEException | NoSuchAlgorithmException error) {
      answer.onError(Status.INTERNAL.withDescription("not signed").asRuntimeException());
    }
  }

  private static List<String> violations(IssueMetabaseTokenRequest request) {
    if (!request.hasUser()) {
      return List.of("user: required");
    }
    List<String> found = new ArrayList<>();
    User user = request.getUser();
    if (user.getEmail().length() > 254 || !EMAIL.matcher(user.getEmail().toLowerCase(Locale.ROOT)).matches()) {
      found.add("user.email: not an e-mail address");
    }
    if (user.getFirstName().isBlank() || user.getFirstName().length() > 254) {
      found.add("user.first_name: 1 to 254 characters");
    }
    if (user.getLastName().isBlank() || user.getLastName().length() > 254) {
      found.add("user.last_name: 1 to 254 characters");
    }
    if (request.hasLifetime()) {
      var lifetime = request.getLifetime();
      if (lifetime.getNanos() != 0 || lifetime.getSeconds() < 60 || lifetime.getSeconds() > MOST_LIFETIME) {
        found.add("lifetime: whole seconds, 60 to " + MOST_LIFETIME);
      }
    }
    return found;
  }

  private IssueMetabaseTokenResponse issue(IssueMetabaseTokenRequest request)
      throws JOSEException, NoSuchAlgorithmException {
    long issued = System.currentTimeMillis() / 1000 - BACKDATED;
    long expires = issued + (request.hasLifetime() ? request.getLifetime().getSeconds() : DEFAULT_LIFETIME);
    User user = request.getUser();
    JWTClaimsSet.Builder claims =
        new JWTClaimsSet.Builder()
            .claim("email", user.getEmail().toLowerCase(Locale.ROOT))
            .claim("first_name", user.getFirstName())
            .claim("last_name", user.getLastName());
    if (request.hasGroups()) {
      claims.claim("groups", request.getGroups().getNamesList());
    }
    request.getAttributesMap().forEach(claims::claim);
    claims.issueTime(new Date(issued * 1000)).expirationTime(new Date(expires * 1000));
    SignedJWT token = new SignedJWT(HEADER, claims.build());
    token.sign(signer);
    String compact = token.serialize();
    byte[] digest = MessageDigest.getInstance("SHA-256").digest(compact.getBytes(StandardCharsets.US_ASCII));
    return IssueMetabaseTokenResponse.newBuilder()
        .setJwt(compact)
        .setIssueTime(Timestamp.newBuilder().setSeconds(issued))
        .setExpireTime(Timestamp.newBuilder().setSeconds(expires))
        .setExchangeDeadline(Timestamp.newBuilder().setSeconds(Math.min(expires, issued + MAX_AGE)))
        .setTokenFingerprint(HexFormat.of().formatHex(digest, 0, 8))
        .build();
  }
}
