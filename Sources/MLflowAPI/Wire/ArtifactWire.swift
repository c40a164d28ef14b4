import Contracts
import Foundation

/// Artifacts as MLflow's server presents them: paths, file names, content types, ranges.
package enum ArtifactWire {
    /// A path as a client wrote it, with every layer of percent escapes resolved, as MLflow resolves them: what is judged is what is used.
    /// - Throws: `invalidArgument` for an absolute path, one with `..` or `#`, and one whose escapes never end.
    package static func path(_ text: String) throws(KeelError) -> String {
        var path = text
        for _ in 0..<10 {
            let decoded = Query.decode(path)
            if decoded == path {
                try check(path)
                return escapingControls(path)
            }
            path = decoded
        }
        throw invalid
    }

    /// MLflow's whole text: public clients match it.
    private static let invalid = KeelError.invalid("Invalid path")

    private static func check(_ path: String) throws(KeelError) {
        let bytes = Array(path.utf8.prefix(3))
        let hasDrive =
            bytes.count == 3 && bytes[1] == UInt8(ascii: ":") && (bytes[2] == UInt8(ascii: "/") || bytes[2] == UInt8(ascii: "\\"))
        guard !path.hasPrefix("/"), !hasDrive, !path.utf8.contains(UInt8(ascii: "#")), !path.utf8.contains(0),
            !path.split(separator: "/").contains("..")
        else { throw invalid }
    }

    private static func escapingControls(_ path: String) -> String {
        guard path.utf8.contains(where: { $0 < 32 || $0 == 127 }) else { return path }
        return path.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? "%" + hexText([UInt8($0.value)]) : String($0) }.joined()
    }

    /// The last part of a file's path on the machine of a client, which may be of either kind.
    static func fileName(_ path: String) -> String { path.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last.map(String.init) ?? "" }

    // MARK: Headers

    /// `attachment` with the name, after RFC 6266, with an ASCII name for clients that know no other.
    package static func disposition(_ name: String) -> String {
        guard !name.utf8.allSatisfy({ $0 < 128 }) else { return "attachment; filename=\(quoted(name))" }
        let plain = String(decoding: name.decomposedStringWithCompatibilityMapping.utf8.filter { $0 < 128 }, as: UTF8.self)
        return "attachment; filename=\(quoted(plain.isEmpty ? "download" : plain)); filename*=UTF-8''\(percent(name))"
    }

    private static let tokenBytes = Set("!#$%&'*+-.^_`|~".utf8)
    private static func isWord(_ byte: UInt8) -> Bool { (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) }

    private static func quoted(_ name: String) -> String {
        if !name.isEmpty, name.utf8.allSatisfy({ isWord($0) || tokenBytes.contains($0) }) { return name }
        return "\"" + name.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    private static let plainBytes = Set("!#$&+-.^_`|~".utf8)
    private static func percent(_ name: String) -> String {
        name.utf8.map { isWord($0) || plainBytes.contains($0) ? String(UnicodeScalar($0)) : "%" + hexText([$0]).uppercased() }.joined()
    }

    /// The type that MLflow guesses from a file's name.
    package static func contentType(_ name: String) -> String {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        // A name that only begins with a point has no extension.
        let hasExtension = parts.count > 1 && !(parts.count == 2 && parts[0].isEmpty)
        if textExtensions.contains(hasExtension ? parts[parts.count - 1] : name) { return "text/plain" }
        guard hasExtension else { return binary }
        var suffixes = parts.dropFirst().map { $0.lowercased() }
        switch suffixes.last {
        case "tgz", "taz", "tz", "tbz2", "txz": return "application/x-tar"
        case "svgz": return "image/svg+xml"
        case "gz", "z", "bz2", "xz", "br": suffixes.removeLast()
        default: break
        }
        return suffixes.last.flatMap { types[$0] } ?? binary
    }

    private static let binary = "application/octet-stream"
    private static let textExtensions: Set<String> = [
        "txt", "log", "err", "cfg", "conf", "cnf", "cf", "ini", "properties", "prop", "hocon", "toml", "yaml", "yml", "xml", "json", "js",
        "py",
        "py3", "csv", "tsv", "md", "rst", "ipynb", "MLmodel", "MLproject",
    ]
    private static let types: [String: String] = [
        "aac": "audio/aac", "avi": "video/x-msvideo", "avif": "image/avif", "bat": "text/plain", "bmp": "image/bmp", "c": "text/plain",
        "css": "text/css", "doc": "application/msword", "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "gif": "image/gif", "h": "text/plain", "h5": "application/x-hdf5", "hdf": "application/x-hdf", "heic": "image/heic",
        "htm": "text/html",
        "html": "text/html", "ico": "image/vnd.microsoft.icon", "jpe": "image/jpeg", "jpeg": "image/jpeg", "jpg": "image/jpeg",
        "ksh": "text/plain",
        "mjs": "application/javascript", "mov": "video/quicktime", "mp2": "audio/mpeg", "mp3": "audio/mpeg", "mp4": "video/mp4",
        "mpeg": "video/mpeg",
        "mpg": "video/mpeg", "n3": "text/n3", "nc": "application/x-netcdf", "nt": "application/n-triples", "opus": "audio/opus",
        "pdf": "application/pdf", "pl": "text/plain", "png": "image/png", "ppt": "application/vnd.ms-powerpoint",
        "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation", "ps": "application/postscript",
        "pyc": "application/x-python-code", "rdf": "application/xml", "sh": "application/x-sh", "srt": "text/plain", "svg": "image/svg+xml",
        "tar": "application/x-tar", "tex": "application/x-tex", "tif": "image/tiff", "tiff": "image/tiff", "wasm": "application/wasm",
        "wav": "audio/x-wav", "webm": "video/webm", "webp": "image/webp", "xls": "application/vnd.ms-excel",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "zip": "application/zip",
    ]

    // MARK: Ranges

    package enum Extent: Equatable {
        case whole
        case part(Range<Int64>)
        case unsatisfiable
    }

    /// What a `Range` header asks of content with a length, after RFC 9110. One range is served; several, or what is no range of bytes, as the whole.
    package static func extent(_ header: String?, of bytes: Int64) -> Extent {
        guard let header, header.hasPrefix("bytes=") else { return .whole }
        let sides = header.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false).map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        guard sides.count == 2, sides.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } }), !sides.allSatisfy(\.isEmpty) else {
            return .whole
        }
        if sides[0].isEmpty {
            // A number that is too large is more than all there is.
            let last = min(Int64(sides[1]) ?? .max, bytes)
            return last == 0 ? .unsatisfiable : .part(bytes - last..<bytes)
        }
        let first = Int64(sides[0]) ?? .max
        let last = sides[1].isEmpty ? .max : Int64(sides[1]) ?? .max
        guard first <= last else { return .whole }
        return first < bytes ? .part(first..<min(last, bytes - 1) + 1) : .unsatisfiable
    }
}
