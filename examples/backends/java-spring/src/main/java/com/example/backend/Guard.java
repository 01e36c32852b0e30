package com.example.backend;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.stereotype.Component;
import org.springframework.web.filter.OncePerRequestFilter;
import org.springframework.web.servlet.config.annotation.CorsRegistry;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;

/** Who may ask and read: CORS with credentials, for exactly the origins configured; answers are never stored. */
@Component
@Order(Ordered.HIGHEST_PRECEDENCE)
class Guard extends OncePerRequestFilter implements WebMvcConfigurer {
    private final Settings settings;

    Guard(Settings settings) {
        this.settings = settings;
    }

    @Override
    public void addCorsMappings(CorsRegistry registry) {
        registry.addMapping("/**").allowedOrigins(settings.origins().toArray(String[]::new)).allowCredentials(true)
                .allowedMethods("GET", "POST").allowedHeaders("*"); // Answers with the headers that were asked for.
    }

    @Override
    protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain next)
            throws ServletException, IOException {
        response.setHeader("Cache-Control", "no-store");
        String origin = request.getHeader("Origin");
        // CORS only hides answers; this keeps other sites from signing people in and out.
        if (origin != null && !settings.origins().contains(origin)) {
            response.setStatus(403);
            response.setContentType("application/json");
            response.getWriter().write("""
                    {"status":"error","code":"FOREIGN_ORIGIN","message":"Not from this site."}""");
            return;
        }
        next.doFilter(request, response);
    }
}
