package com.example.backend;

import java.net.URI;
import java.util.Map;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.core.env.ConfigurableEnvironment;
import org.springframework.core.env.MapPropertySource;
import org.springframework.web.cors.DefaultCorsProcessor;
import org.springframework.web.filter.CorsFilter;

/** Starts, and guards whatever is asked. */
@SpringBootApplication
@EnableConfigurationProperties(Settings.class)
public class Backend {
    public static void main(String[] arguments) {
        new SpringApplicationBuilder(Backend.class).initializers(context -> derive(context.getEnvironment())).run(arguments);
    }

    /** Properties of Spring that follow from a setting in a way that application.properties cannot say. */
    private static void derive(ConfigurableEnvironment environment) {
        var listen = URI.create("http://" + environment.getProperty("backend.listen"));
        boolean secure = environment.getProperty("backend.public-url").startsWith("https://");
        boolean tls = environment.getProperty("backend.address").startsWith("https://");
        environment.getPropertySources().addLast(new MapPropertySource("derived", Map.of(
                "server.address", listen.getHost(), "server.port", listen.getPort(),
                "server.servlet.session.cookie.secure", secure,
                // The prefix keeps sibling subdomains from planting a session of their own.
                "server.servlet.session.cookie.name", secure ? "__Host-session" : "session",
                "spring.grpc.client.channel.default.ssl.enabled", tls)));
    }

    /** CORS as application.properties has it, and nothing for any other origin; answers are never stored. */
    @Bean
    CorsFilter guard(Settings settings) {
        var filter = new CorsFilter(request -> settings.cors());
        filter.setCorsProcessor((configuration, request, response) -> {
            response.setHeader("Cache-Control", "no-store");
            String origin = request.getHeader("Origin");
            if (origin == null || settings.origins().contains(origin)) {
                return new DefaultCorsProcessor().processRequest(configuration, request, response);
            }
            // CORS only hides answers; this keeps other sites from signing people in and out.
            response.setStatus(403);
            response.setContentType("application/json");
            response.getWriter().write("""
                    {"status":"error","code":"FOREIGN_ORIGIN","message":"Not from this site."}""");
            return false;
        });
        return filter;
    }
}
