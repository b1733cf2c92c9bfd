"""Names of HAProxy's language that are known and not built yet: they are refused by name."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


UNBUILT_FETCHES = _names(
    """
    avg_queue be_conn_free connslots
    queue sc_table srv_queue
    prio_class prio_offset
    fc_timer_handshake
    fc_timer_total fc_glitches fc_settings_streams_limit bc_glitches
    req.ssl_cipherlist req.ssl_sigalgs req.ssl_keyshare_groups req.ssl_supported_groups
    req_proto_tls
    body_param
    txn.timer.hdr
    txn.queue_time last_entity
    waiting_entity req.bytes_in req.bytes_out res.bytes_in res.bytes_out
    sc_glitch_cnt sc_glitch_rate src_glitch_cnt src_glitch_rate
    ssl_fc ssl_fc_sni ssl_fc_alpn ssl_fc_cipher ssl_fc_protocol ssl_fc_has_crt ssl_c_used
    ssl_c_verify ssl_c_s_dn ssl_c_i_dn ssl_c_serial ssl_c_sha1 ssl_bc ssl_bc_alpn
    """
)

UNBUILT_CONVERTERS = _names(
    """
    51d.single aes_cbc_dec aes_cbc_enc bytes_in
    debug fix_is_valid fix_tag_value
    map_key map_reg map_regm map_reg_int map_reg_ip
    mqtt_field_value mqtt_is_valid protobuf ungrpc
    srv_queue
    x509_v_err_str table_glitch_cnt table_glitch_rate
    """
)
