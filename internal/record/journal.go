package record

// JournalSocket is where systemd-journald takes datagrams in its native protocol
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
const JournalSocket = "/run/systemd/journal/socket"
