/*
 * proxy_tables.h - what proto/proxy.pyx cannot spell: a constant table and the signature of version 2.
 */
#ifndef LB_PROXY_TABLES_H
#define LB_PROXY_TABLES_H

#include <stdint.h>

static const uint8_t proxy_signature[12] = {13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10};

/* CRC-32C (Castagnoli, reflected, polynomial 0x82f63b78), half a byte at a time: a header is short, and most have none. */
static const uint32_t proxy_crc32c_table[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

#endif
