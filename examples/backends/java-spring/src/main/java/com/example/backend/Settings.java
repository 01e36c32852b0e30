package com.example.backend;

import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import org.springframework.boot.context.properties.ConfigurationProperties;

/** Read once at start; a mistake ends the program with the name of the variable. */
@ConfigurationProperties("backend")
record Settings(String publicUrl, List<String> appOrigins, String cookieSamesite, String peopleFile,
        String metabaseInstance, URI address, String ca, String certificate, String key) {

    Settings {
        for (String origin : origins(appOrigins, publicUrl)) {
            if (!origin.matches("https?://[^/?#@*]+")) {
                throw new IllegalArgumentException("APP_ORIGINS, PUBLIC_URL: \"%s\" is not an origin such as https://app.example.com"
                        .formatted(origin));
            }
        }
        if (!List.of("Lax", "None").contains(cookieSamesite)) {
            throw new IllegalArgumentException("COOKIE_SAMESITE must be Lax or None");
        }
        if (cookieSamesite.equals("None") && !publicUrl.startsWith("https://")) {
            throw new IllegalArgumentException("COOKIE_SAMESITE=None needs an https PUBLIC_URL: browsers drop the cookie otherwise");
        }
        if (address.getScheme().equals("https") == ca.isEmpty()) {
            throw new IllegalArgumentException("METABASE_TOKEN_SERVICE_TLS_CA goes together with an https METABASE_TOKEN_SERVICE_ADDRESS");
        }
        if (certificate.isEmpty() != key.isEmpty()) {
            throw new IllegalArgumentException("METABASE_TOKEN_SERVICE_TLS_CERTIFICATE goes together with METABASE_TOKEN_SERVICE_TLS_KEY");
        }
    }

    /** Whose pages may read answers: the app's, and this backend's own. */
    List<String> origins() {
        return origins(appOrigins, publicUrl);
    }

    boolean secure() {
        return publicUrl.startsWith("https://");
    }

    private static List<String> origins(List<String> apps, String own) {
        List<String> all = new ArrayList<>(apps);
        all.add(own);
        return all;
    }
}
