package com.example.backend;

import java.io.File;
import java.net.URI;
import java.util.List;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.util.Assert;
import org.springframework.web.cors.CorsConfiguration;

/** Read once at start; a mistake ends the program with the name of the variable. */
@ConfigurationProperties("backend")
record Settings(String publicUrl, List<String> origins, CorsConfiguration cors, String cookieSamesite, File peopleFile,
        String metabaseInstance, URI address, String ca, String certificate, String key) {
    Settings {
        Assert.isTrue(origins.stream().allMatch(origin -> origin.matches("https?://[^/?#@*]+")),
                "APP_ORIGINS, PUBLIC_URL: " + origins + " must be origins such as https://app.example.com");
        Assert.isTrue(cookieSamesite.equals("Lax") || cookieSamesite.equals("None") && publicUrl.startsWith("https://"),
                "COOKIE_SAMESITE must be Lax or, with an https PUBLIC_URL, None: browsers drop the cookie otherwise");
        Assert.isTrue("https".equals(address.getScheme()) != ca.isEmpty(),
                "METABASE_TOKEN_SERVICE_TLS_CA goes together with an https METABASE_TOKEN_SERVICE_ADDRESS");
        Assert.isTrue(certificate.isEmpty() == key.isEmpty(),
                "METABASE_TOKEN_SERVICE_TLS_CERTIFICATE goes together with METABASE_TOKEN_SERVICE_TLS_KEY");
    }
}
