package com.example.backend;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.json.JsonMapper;

/** Puts the parts together. */
@SpringBootApplication
@EnableConfigurationProperties(Settings.class)
public class Backend {
    public static void main(String[] arguments) {
        var listen = URI.create("http://" + System.getenv().getOrDefault("LISTEN", "127.0.0.1:8000"));
        var secure = System.getenv().getOrDefault("PUBLIC_URL", "").startsWith("https://");
        var application = new SpringApplication(Backend.class);
        application.setDefaultProperties(Map.of(
                "server.address", listen.getHost(), "server.port", listen.getPort(),
                "server.servlet.session.cookie.secure", secure,
                // The prefix keeps sibling subdomains from planting a session of their own.
                "server.servlet.session.cookie.name", secure ? "__Host-session" : "session"));
        application.run(arguments);
    }

    /** Yours: the user database. */
    @Bean
    Map<String, Person> people(Settings settings) throws IOException {
        String text = Files.readString(Path.of(settings.peopleFile()));
        return JsonMapper.shared().readValue(text, new TypeReference<>() { });
    }

    @Bean
    TokenService tokenService(Settings settings) throws IOException {
        return TokenService.connect(settings);
    }
}
