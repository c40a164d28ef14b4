import Contracts
import Foundation
import Logging
import NIOSSL
import Platform
import Synchronization

/// The certificate that the server shows, and whose clients it lets in. It is read again when a file changes; connections that are open keep the
/// one they began with.
public final class ServerTLS: Sendable {
    private static let interval = Duration.seconds(2)

    private let files: TLSFiles
    private let current: Mutex<NIOSSLContext>
    private let state: Mutex<[State]>

    /// - Throws: `invalidArgument` that names the file which cannot be read or used.
    public init(_ files: TLSFiles) throws(KeelError) {
        self.files = files
        state = Mutex(files.all.map(State.init))
        current = Mutex(try ServerTLS.context(files))
    }

    var context: NIOSSLContext { current.withLock { $0 } }

    /// Follows the files until the task is cancelled. Files that cannot be used are reported once, and what was there before stays in force.
    public func follow(_ logger: Logger) async {
        while (try? await Task.sleep(for: ServerTLS.interval)) != nil {
            let now = files.all.map(State.init)
            let isChanged = state.withLock { state in
                defer { state = now }
                return state != now
            }
            guard isChanged else { continue }
            do throws(KeelError) {
                let fresh = try ServerTLS.context(files)
                current.withLock { $0 = fresh }
                logger.notice("the certificate was read again: \(files.certificate)")
            } catch { logger.error("the certificate that was in use stays in use: \(error)") }
        }
    }

    /// What tells that a file is another one than before.
    private struct State: Equatable {
        let changed: Date?
        let size: Int?
        let number: Int?

        init(_ path: String) {
            let attributes = try? FileManager.default.attributesOfItem(atPath: path)
            changed = attributes?[.modificationDate] as? Date
            size = attributes?[.size] as? Int
            number = attributes?[.systemFileNumber] as? Int
        }
    }

    private static func context(_ files: TLSFiles) throws(KeelError) -> NIOSSLContext {
        let certificates = try certificates(in: files.certificate, setting: "tls.certificate")
        let key: NIOSSLPrivateKey
        do { key = try NIOSSLPrivateKey(file: files.key, format: .pem) } catch {
            throw .invalid("'\(files.key)' cannot be read as a private key", hint: "it must be PEM, without a passphrase", path: "tls.key")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: certificates.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        // The first that the client offers too. HTTP/2 serves gRPC alone, whose clients offer nothing else.
        configuration.applicationProtocols = ["http/1.1", "h2"]
        if let authorities = files.authorities {
            configuration.trustRoots = .certificates(try ServerTLS.certificates(in: authorities, setting: "tls.authorities"))
            // The name in a client's certificate is nobody's host name.
            configuration.certificateVerification = .noHostnameVerification
        }
        do { return try NIOSSLContext(configuration: configuration) } catch {
            throw .invalid(
                "the certificate in '\(files.certificate)' and the key in '\(files.key)' do not go together", path: "tls.certificate")
        }
    }

    private static func certificates(in file: String, setting: String) throws(KeelError) -> [NIOSSLCertificate] {
        guard let found = try? NIOSSLCertificate.fromPEMFile(file), !found.isEmpty else {
            throw .invalid("'\(file)' cannot be read as certificates", hint: "it must be a PEM file", path: setting)
        }
        return found
    }
}
