/// The files of a server's TLS.
public struct TLSFiles: Sendable, Equatable {
    /// PEM: the server's certificate, then those between it and an authority.
    public let certificate: String
    /// PEM, without a passphrase.
    public let key: String
    /// PEM: when given, every client must show a certificate of one of these.
    public let authorities: String?

    package init(certificate: String, key: String, authorities: String?) {
        self.certificate = certificate
        self.key = key
        self.authorities = authorities
    }

    package var all: [String] { [certificate, key] + (authorities.map { [$0] } ?? []) }
}
