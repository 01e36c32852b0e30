package com.example.backend;

/** An answer for the browser: says nothing of what the service said. */
final class Failure extends RuntimeException {
    final int status;
    final String code;

    Failure(int status, String code, String message) {
        super(message);
        this.status = status;
        this.code = code;
    }
}
