# For /etc/postfix/main.cf. Senders of mail that leaves are rewritten, bounces
# are turned back. Without the two _classes lines the From: header would be
# rewritten too, and DMARC would fail.
sender_canonical_maps = tcp:localhost:10001
sender_canonical_classes = envelope_sender
recipient_canonical_maps = tcp:localhost:10002
recipient_canonical_classes = envelope_recipient, header_recipient
