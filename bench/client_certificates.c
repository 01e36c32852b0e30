/* h2load knows no client certificates. Loaded into it (LD_PRELOAD), this gives each of its connections the next one of
 * CLIENT_CERTIFICATES files: CLIENT_CERTIFICATE_FOLDER/0.pem with 0.key, 1.pem with 1.key, and so on, in turn.
 * Costs nothing once a connection stands. The prototypes are those of OpenSSL 3, so that no headers are needed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILETYPE_PEM = 1 };

void SSL_CTX_set_cert_cb(void *context, int (*callback)(void *, void *), void *argument);
int SSL_use_certificate_file(void *ssl, const char *file, int type);
int SSL_use_PrivateKey_file(void *ssl, const char *file, int type);

static int use_next(void *ssl, void *unused) {
    static unsigned long next;
    (void)unused;
    const char *folder = getenv("CLIENT_CERTIFICATE_FOLDER");
    const char *count = getenv("CLIENT_CERTIFICATES");
    unsigned long certificates = count ? strtoul(count, NULL, 10) : 0;
    if (!folder || certificates == 0) {
        fputs("CLIENT_CERTIFICATE_FOLDER and CLIENT_CERTIFICATES are needed\n", stderr);
        exit(64);
    }
    unsigned long index = next++ % certificates;
    char certificate[4096], key[4096];
    snprintf(certificate, sizeof certificate, "%s/%lu.pem", folder, index);
    snprintf(key, sizeof key, "%s/%lu.key", folder, index);
    if (SSL_use_certificate_file(ssl, certificate, FILETYPE_PEM) != 1 ||
        SSL_use_PrivateKey_file(ssl, key, FILETYPE_PEM) != 1) {
        fprintf(stderr, "%s or its key cannot be used\n", certificate);
        exit(65);
    }
    return 1;
}

void *SSL_CTX_new(const void *method) {
    void *(*real)(const void *) = (void *(*)(const void *))dlsym(RTLD_NEXT, "SSL_CTX_new");
    void *context = real(method);
    if (context) {
        SSL_CTX_set_cert_cb(context, use_next, NULL);
    }
    return context;
}
