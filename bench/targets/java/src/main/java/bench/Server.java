package bench;

import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.services.HealthStatusManager;
import java.net.InetSocketAddress;
import java.util.concurrent.TimeUnit;

/** Serves the issuer: {@code Server HOST PORT}, with the secret in JWT_SHARED_SECRET. */
public final class Server {
  private Server() {}

  public static void main(String[] arguments) throws Exception {
    String secret = System.getenv("JWT_SHARED_SECRET");
    if (secret == null || arguments.length != 2) {
      System.err.println("usage: JWT_SHARED_SECRET=... Server HOST PORT");
      System.exit(64);
    }
    var address = new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1]));
    // Nothing waits for anything, so that calls are answered on the thread that reads them.
    var server =
        NettyServerBuilder.forAddress(address)
            .directExecutor()
            .keepAliveTime(30, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .maxInboundMessageSize(64 * 1024)
            .addService(new Issuer(secret))
            .addService(new HealthStatusManager().getHealthService())
            .build()
            .start();
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
    server.awaitTermination();
  }
}
