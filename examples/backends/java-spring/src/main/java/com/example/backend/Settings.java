package com.example.backend;

import java.net.URI;
import java.util.List;
import java.util.stream.Stream;
import org.springframework.boot.context.properties.ConfigurationProperties;

/** Read once at start; a mistake ends the program with the name of the variable. */
@ConfigurationProperties("backend")
record Settings(String publicUrl, List<String> appOrigins, String cookieSamesite, String peopleFile,
        String metabaseInstance, URI address, String ca, String certificate, String key) {

    Settings {
        for (String origin : origins(appOrigins, publicUrl)) {
            require(origin.matches("https?://[^/?#@*]+"),
                    "APP_ORIGINS, PUBLIC_URL: \"" + origin + "\" is not an origin such as https://app.example.com");
        }
        require(List.of("Lax", "None").contains(cookieSamesite), "COOKIE_SAMESITE must be Lax or None");
        require(cookieSamesite.equals("Lax") || publicUrl.startsWith("https://"),
                "COOKIE_SAMESITE=None needs an https PUBLIC_URL: browsers drop the cookie otherwise");
        require("https".equals(address.getScheme()) != ca.isEmpty(),
                "METABASE_TOKEN_SERVICE_TLS_CA goes together with an https METABASE_TOKEN_SERVICE_ADDRESS");
        require(certificate.isEmpty() == key.isEmpty(),
                "METABASE_TOKEN_SERVICE_TLS_CERTIFICATE goes together with METABASE_TOKEN_SERVICE_TLS_KEY");
    }

    /** Whose pages may read answers: the app's, and this backend's own. */
    List<String> origins() {
        return origins(appOrigins, publicUrl);
    }

    private static List<String> origins(List<String> apps, String own) {
        return Stream.concat(apps.stream(), Stream.of(own)).toList();
    }

    private static void require(boolean holds, String rule) {
        if (!holds) {
            throw new IllegalArgumentException(rule);
        }
    }
}
