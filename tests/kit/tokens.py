"""Tokens signed with the private halves of the keys in `keys`, which nobody has any more."""

from __future__ import annotations

from pathlib import Path

KEYS = Path(__file__).parent / "keys"

TOKENS = {
    "RS256": (
        "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkrDtiIsImFkbWluIjp0cnV"
        "lfQ.ge5mIuyoqi3_nt7M5QmxidyDNOnVUeeRab9Qinz_1JaQqZREWZ4dKZSo244RJ7tSsfDL2YV7hiGcNmeu3FOPnidn6FmUONUi"
        "0sF9stV9tRoE20aONVqiYb-FuwA01yvStKFq8HLc1rGoAGxuDOliZ2pJsCkdLf1JatgpJ3H6sGUixGYTgonzGQ2G6Jx1yKzXDG8Z"
        "_7NfW2arRgpHwBrM48ExaLbMTCQu_t18sRyupVG_kIIYB7o4KW-uX4uE-kWizPeCaCqTl_bgoRCtqzaOKePcjCuQzyi5liVzpDrr"
        "-vvpWLobeINwTFE0_UG9oMhSOsGePaECjG_rb6KJk6BQVA"
    ),
    "RS384": (
        "eyJhbGciOiAiUlMzODQiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkrDtiIsImFkbWluIjp0cnV"
        "lfQ.SqRVHlLsPDTJDT1ZbPJe4DNiMfzYeWd0PtRE0u2rR9da_bNrJDii1A5VKAn73Uuqn9OmToFz7MtrI_h6F1AdhHoL1uDJZHBh"
        "3iqIcCEuAR5iBX3sFJksTldY0dtGsxYybVTmjjpxAlHzb0--8W52EgeAU9rCJcF_Yt07jXPHba13J7BVzHQwdoabLgYs3fgPRaLv"
        "z3NTe4aeXyDkpxhRYUzosqqVt5t_y-MydXZ867GHrTyfZx7sEvbaqW_HUr_Y9GORjmrNu5Pbp5Gypj-vs2jK3CIKOYUhMomWXyes"
        "2zPbV2WhnPGzyRhEBaHgXJKPK1HfDEqGRGQ9760tfkrH2w"
    ),
    "RS512": (
        "eyJhbGciOiAiUlM1MTIiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkrDtiIsImFkbWluIjp0cnV"
        "lfQ.Z5cFH6Kpk9vGrUoUjsdXitsKOHqYxTIJPd0se_vbxNxvX7D__11igYMhXdw8H3IkOLzxV82scVelY02lgYMZVsfBnKQhyjQe"
        "_t-2kvfwtxxKiNVJQyGAFj_EB2xkhIDcZR3nndn7hoBHqhjNnop2qMYFoox2AKVBWJW35Ecb2zAwBlOiUsBsCYPrQMN3S886kDNZ"
        "L1baczy85UE2Jy_gLOuOtWvZOEiUAltD-_hAyNTqNuihU4aZRChfQs0el1Km9LfATKW6WgAkwTJCgG33VZS1ESsl5HAbfEd9aOyW"
        "KxXT3HxivzIufaDwxac5RDnc3oHX5LowJD0X5995hGk0lw"
    ),
    "ES256": (
        "eyJhbGciOiAiRVMyNTYiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkrDtiIsImFkbWluIjp0cnV"
        "lfQ.DmU8HEY8dUWqj8m0TcQdUnauT75DANlCv8Upr24A9D_MAbdyEpxrD-mGVSUaa-Gi3h-BGvi6dQ3ovbZ6dtYzug"
    ),
    "ES384": (
        "eyJhbGciOiAiRVMzODQiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkrDtiIsImFkbWluIjp0cnV"
        "lfQ.gdRop7KMml_I9XjoSRRx5dGShOQkEpsf0P9wXq5jrCqBzAkJ0FOZ-7yVW7GmcMiTEcdb8OEeRXU1jVKZgVh2V4TkULpSjJol"
        "ePlb0JMuQSvhuN3WapwjAENAT7gnyn-P"
    ),
    "ES512": (
        "eyJhbGciOiAiRVM1MTIiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkrDtiIsImFkbWluIjp0cnV"
        "lfQ.AXxwG115MAA1RuyitVKkIU1DrPzWUCTfNdMoLwnc-E5G-qC2vKw9nxUIpcAEkXs_JI3N0BPCIFJNyb5fkaa0KiDVAJQI4nq1"
        "vJcWG0J1STbIIk66N3U6dyHOPaCr89KzIAN-TPus1bQnXV8eUsFio5r5eD11H2H83-n7CSlI6XnTAeWu"
    ),
    "PS256": (
        "eyJhbGciOiAiUFMyNTYiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkrDtiIsImFkbWluIjp0cnV"
        "lfQ.1584KW-qF2RqnJKOVwVDNRCuwjFzKlR-tJgSNLmnmsjfOX52FSWDXNr1SefrvXA7hRnEeP9FgoKKgFv4Qs8l5p_Pj6EiH5Wu"
        "5XRvRA3rLAqCdH4LdMhxR8F00g4OHRShkMrtcLwTKKRyH_nLQC9w81qE7IdgNBN5fkaSbVFavQaUi2cfXIEkIA3o64wzPZNghREQ"
        "u2UXQmJCHCX1Xg-NJnqXHdKf_STxXwRKfqyxaKJ0GotWZFltwSH-2S3TphAXWk4Orbrw554mkKAx5c096sPUNIxgHJJNJT4I42C3"
        "dDyA89Ne6nZsdihgqHHqdohx9fYBAYxo6r85bRy_5zo0Fw"
    ),
    "PS384": (
        "eyJhbGciOiAiUFMzODQiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkrDtiIsImFkbWluIjp0cnV"
        "lfQ.ftVJqv9Xlip309WJ3Vd5QNbBSKY5ha3xhFmWelQPN-W4l6M6mYH9dyg70QPapdOOsIDCPxYo3bcBPYIl6H7vVo8N2q41k0zP"
        "9yULExQOZeS-2Cie4MiBc4RNTmMZuBMXHVHjAUDm1fYicm67UPVEPSRU291BZcIWdpO-ZIyO6PTZHAMIRSYsPuJppv4MBBNwA1Dq"
        "P6J1JYQ3ohK0IzKzdqaEZ-NimdY1RRvsO6ab-R9m7Wo3LmvAIe2pzX_rV33e5dHpu5xSxFVIErngAw7eAeIqCXfduE-WzcMHOr3p"
        "Jo7w90TRzSJmXHnHo3R6O4Sjb80SmENzX2GAhpNrIB7b_g"
    ),
    "PS512": (
        "eyJhbGciOiAiUFM1MTIiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkrDtiIsImFkbWluIjp0cnV"
        "lfQ.pSpbrKGD6fYkPCW3jjNw3co_x2QKMN0Sz6gI81nXcnivjoZNQC6mjY6NQwIORSOROY_xlTHi7BwyqhM-lL5gT9CDYJHP072C"
        "4HqNYPTV9OM4Lh4iT9elWSkx6eKd1I1BZZ6bqlOdrN0iWsd9sbF3gECWdGhxHR939Z3frh4zENc45wdN3empKmMKyEi8lvIq_Yuo"
        "2VCL8M700lyCwFGXo5SogGnng_pkaNDdFrGQjfvN92pUVKVkpq5uRUJxdHiMydfmjuO12GRr30hGyobO-YSE_YP0GEtXpLNg-TBL"
        "2pBCLBfItjrkr4T5Fy1ZvTRiPEb7xjczGgPS1oewOH8icg"
    ),
}
