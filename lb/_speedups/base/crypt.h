/*
 * crypt.h - libcrypt, or that there is none (LB_CRYPT, from setup.py).
 *
 * crypt_rn answers NULL for what it cannot hash, never a failure token, and needs no lock: each caller has its own data.
 */
#ifndef LB_BASE_CRYPT_H
#define LB_BASE_CRYPT_H

#include <stddef.h>
#include <string.h>

#ifndef LB_CRYPT
#define LB_CRYPT 0
#endif

#if LB_CRYPT
#include <crypt.h>
#define LB_CRYPT_DATA sizeof(struct crypt_data)
static inline const char *lb_crypt(const char *password, const char *setting, void *data)
{
    return crypt_rn(password, setting, data, (int)sizeof(struct crypt_data));
}
/* Whether libcrypt takes a hash as the setting of a check: NULL, or what is wrong. */
static inline const char *lb_crypt_problem(const char *setting)
{
    /* Any two letters begin a hash of the oldest method, so a password in clear passes for one: these have 13. */
    if (setting[0] != '$' && setting[0] != '_' && strlen(setting) != 13)
        return "is no hash that libcrypt knows";
    switch (crypt_checksalt(setting)) {
    case CRYPT_SALT_OK:
    case CRYPT_SALT_METHOD_LEGACY:
    case CRYPT_SALT_TOO_CHEAP:
        return NULL;
    case CRYPT_SALT_METHOD_DISABLED:
        return "is made by a method that libcrypt has switched off";
    default:
        return "is no hash that libcrypt knows";
    }
}
#else
#define LB_CRYPT_DATA ((size_t)1)
static inline const char *lb_crypt(const char *password, const char *setting, void *data)
{
    (void)password, (void)setting, (void)data;
    return NULL;
}
static inline const char *lb_crypt_problem(const char *setting)
{
    (void)setting;
    return "cannot be checked: this lb was built without libcrypt";
}
#endif

#endif /* LB_BASE_CRYPT_H */
