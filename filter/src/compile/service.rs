//! Ports by the names that the services file of every system gives them.

/// Name and port, sorted by name. From the registry of IANA: those that rules about connections name.
const SERVICES: [(&str, u16); 62] = [
    ("amqp", 5672),
    ("bgp", 179),
    ("bootpc", 68),
    ("bootps", 67),
    ("chargen", 19),
    ("cvspserver", 2401),
    ("daytime", 13),
    ("discard", 9),
    ("domain", 53),
    ("echo", 7),
    ("finger", 79),
    ("ftp", 21),
    ("ftp-data", 20),
    ("ftps", 990),
    ("git", 9418),
    ("gopher", 70),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("ipp", 631),
    ("irc", 194),
    ("ircd", 6667),
    ("iscsi-target", 3260),
    ("kerberos", 88),
    ("kshell", 544),
    ("ldap", 389),
    ("ldaps", 636),
    ("login", 513),
    ("microsoft-ds", 445),
    ("ms-sql-s", 1433),
    ("munin", 4949),
    ("mysql", 3306),
    ("netbios-dgm", 138),
    ("netbios-ns", 137),
    ("netbios-ssn", 139),
    ("nfs", 2049),
    ("nntp", 119),
    ("ntp", 123),
    ("openvpn", 1194),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("redis", 6379),
    ("rsync", 873),
    ("rtsp", 554),
    ("shell", 514),
    ("sip", 5060),
    ("sip-tls", 5061),
    ("smtp", 25),
    ("snmp", 161),
    ("socks", 1080),
    ("ssh", 22),
    ("submission", 587),
    ("submissions", 465),
    ("sunrpc", 111),
    ("syslog", 514),
    ("telnet", 23),
    ("tftp", 69),
    ("xmpp-client", 5222),
];

/// The port of a service.
pub(super) fn port(name: &str) -> Option<u16> {
    SERVICES.binary_search_by_key(&name, |(service, _)| service).ok().map(|index| SERVICES[index].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_found() {
        for (name, number) in SERVICES {
            assert_eq!(port(name), Some(number), "{name}");
        }
        assert_eq!(port("nosuch"), None);
    }
}
