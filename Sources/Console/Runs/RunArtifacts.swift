import Contracts
import HTTPTypes
import Hummingbird
import Storage
import Tracking
import WebAPI

/// The files of a run, and previews of those that a browser can show without running anything of theirs.
struct RunArtifacts {
    /// What a preview reads at most.
    private static let previewBytesMax = 200_000
    private static let previewRowsMax = 100
    private static let columnsMax = 60
    private static let rawBytesMax: Int64 = 64 << 20

    let asked: PageRequest
    let run: Run

    func view() async throws -> View {
        let folder = asked.query["folder"] ?? ""
        let path = "\(RunViews.path(run))?tab=artifacts"
        var view: View = ["uri": run.artifactURI, "isElsewhere": false, "files": [View](), "hasFiles": false, "preview": false, "parents": [View]()]
        guard TrackingService.artifactPath(of: run.artifactURI) != nil else {
            view["isElsewhere"] = true
            return view
        }
        let files = try await asked.platform.tracking.listArtifacts(runID: run.id, path: folder.isEmpty ? nil : folder, asked.grant).files
        view["hasFiles"] = !files.isEmpty
        view["parents"] = parents(of: folder, path)
        view["files"] = files.sorted { ($0.isFolder ? 0 : 1, $0.path) < ($1.isFolder ? 0 : 1, $1.path) }.prefix(500).map { file in
            let name = file.path.split(separator: "/").last.map(String.init) ?? file.path
            let below = folder.isEmpty ? "" : "&folder=\(pathComponent(folder))"
            let href = file.isFolder ? "\(path)&folder=\(pathComponent(file.path))" : "\(path)\(below)&file=\(pathComponent(file.path))"
            return [
                "name": Shown.text(name), "href": href, "isFolder": file.isFolder, "size": file.isFolder ? "" : Shown.bytes(file.bytes),
                "isCurrent": file.path == asked.query["file"],
            ] as View
        }
        if let file = asked.query["file"] { view["preview"] = try await preview(file) }
        return view
    }

    private func parents(of folder: String, _ path: String) -> [View] {
        guard !folder.isEmpty else { return [] }
        var out: [View] = [["name": "artifacts", "href": path]]
        var so = ""
        for part in folder.split(separator: "/") {
            so += so.isEmpty ? String(part) : "/\(part)"
            out.append(["name": Shown.cut(String(part)), "href": "\(path)&folder=\(pathComponent(so))"])
        }
        return out
    }

    private func preview(_ file: String) async throws -> View {
        let content = try await open(file)
        let raw = "\(RunViews.path(run))/file?path=\(pathComponent(file))"
        var view: View = [
            "name": Shown.text(content.name), "size": Shown.bytes(content.bytes), "download": raw + "&download=1", "raw": raw, "isImage": false, "isFrame": false,
            "text": false, "table": false, "isNone": false, "problem": false, "isCut": content.bytes > Int64(RunArtifacts.previewBytesMax),
        ]
        switch FileKind(content.name) {
        case .image: view["isImage"] = true
        case .page: view["isFrame"] = true
        case .table(let delimiter): view["table"] = RunArtifacts.table(try await text(content), delimiter)
        case .parquet:
            view["isCut"] = false
            do {
                let found = try await asked.platform.parquetPreviews.firstRows(of: content.reader, for: asked.grant.caller)
                view["table"] = RunArtifacts.table(found)
                view["isCut"] = found["truncated"]?.bool ?? false
            } catch let error as KeelError {
                // Further lines of the engine's show a statement of the server's own.
                let message = error.message.split(whereSeparator: \.isNewline).first.map(String.init) ?? "it cannot be read"
                view["problem"] = (message + (error.hint.map { " (\($0))" } ?? "")).visible()
            }
        case .json:
            let text = try await text(content)
            let pretty = content.bytes <= Int64(RunArtifacts.previewBytesMax) ? (try? JSON.parse(text))?.pretty : nil
            view["text"] = (pretty ?? text).visible(keepingLines: true)
        case .text: view["text"] = try await text(content).visible(keepingLines: true)
        case .other:
            // Most files without a known name are texts all the same.
            let bytes = try await beginning(of: content)
            if let text = String(validating: bytes, as: UTF8.self), !text.contains("\0") { view["text"] = text.visible(keepingLines: true) } else { view["isNone"] = true }
        }
        if view["isNone"] as? Bool == true || view["isImage"] as? Bool == true || view["isFrame"] as? Bool == true { view["isCut"] = false }
        return view
    }

    private func open(_ file: String) async throws -> ArtifactContent {
        try await asked.platform.tracking.openArtifact(path: TrackingService.artifactPath(of: run.artifactURI, below: file), asked.grant)
    }

    private func text(_ content: ArtifactContent) async throws -> String { String(decoding: try await beginning(of: content), as: UTF8.self) }

    private func beginning(of content: ArtifactContent) async throws -> [UInt8] {
        let count = Int(min(content.bytes, Int64(RunArtifacts.previewBytesMax)))
        return try await Blocking.run { try content.bytes(at: 0, count: count) }
    }

    /// The first rows of a file of values between delimiters. Quoted values may hold the delimiter; a value over several lines is cut there.
    static func table(_ text: String, _ delimiter: Character) -> View {
        var rows = text.split(whereSeparator: \.isNewline).prefix(previewRowsMax + 1).map { fields(of: $0, delimiter).prefix(columnsMax).map { Shown.text($0) } }
        let head = rows.isEmpty ? [] : rows.removeFirst()
        return ["head": head, "rows": rows.map { ["cells": $0] as View }]
    }

    /// The first rows of a Parquet file, as `ParquetPreviews` gives them.
    private static func table(_ found: JSON) -> View {
        let head: [View] = (found["columns"]?.array ?? []).prefix(columnsMax).map { column in
            var view = Shown.text(column["name"]?.string ?? "")
            view["title"] = column["type"]?.string ?? ""
            return view
        }
        let rows: [View] = (found["rows"]?.array ?? []).map { row in
            ["cells": (row.array ?? []).prefix(columnsMax).map { value in Shown.text(value.isNull ? "" : value.string ?? value.text) }]
        }
        return ["head": head, "rows": rows]
    }

    private static func fields(of line: Substring, _ delimiter: Character) -> [String] {
        var out: [String] = []
        var field = ""
        var isQuoted = false
        var previous: Character?
        for character in line {
            if character == "\"" {
                if !isQuoted, previous == "\"" { field.append(character) }
                isQuoted.toggle()
            } else if character == delimiter, !isQuoted {
                out.append(field)
                field = ""
            } else {
                field.append(character)
            }
            previous = character
        }
        return out + [field]
    }

    // MARK: The file itself

    /// A file as it is. Whatever it holds, it runs nothing: its own policy puts it into a sandbox of no origin, without scripts, forms and connections.
    static func file(_ asked: PageRequest) async throws -> Response {
        let run = try await asked.platform.tracking.run(id: asked.name("id"), asked.grant)
        guard let path = asked.query["path"] else { throw KeelError.invalid("'path' is missing", path: "path") }
        let content = try await RunArtifacts(asked: asked, run: run).open(path)
        let kind = FileKind(content.name)
        let isDownload = asked.query["download"] != nil || kind.type == nil
        guard isDownload || content.bytes <= rawBytesMax else { throw KeelError(.payloadTooLarge, "the file is too large to be shown", hint: "download it") }
        var headers: HTTPFields = [
            .contentType: isDownload ? "application/octet-stream" : kind.type ?? "application/octet-stream", .contentLength: String(content.bytes), .cacheControl: "no-store",
        ]
        let fields = [
            ("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'self'"),
            ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Content-Disposition", isDownload ? "attachment; filename*=UTF-8''\(pathComponent(content.name))" : "inline"),
        ]
        for (name, value) in fields { if let name = HTTPField.Name(name) { headers[name] = value } }
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody(contentLength: Int(content.bytes)) { writer in
                var offset: Int64 = 0
                while offset < content.bytes {
                    let start = offset
                    let part = try await Blocking.run { try content.bytes(at: start, count: Int(min(256 << 10, content.bytes - start))) }
                    guard !part.isEmpty else { break }
                    try await writer.write(ByteBuffer(bytes: part))
                    offset += Int64(part.count)
                }
                try await writer.finish(nil)
            })
    }
}

/// How a file is shown, by its name.
enum FileKind: Equatable {
    case image(String)
    case page
    case json
    case table(Character)
    case parquet
    case text
    case other

    init(_ name: String) {
        switch name.split(separator: ".").last?.lowercased() {
        case "png": self = .image("image/png")
        case "jpg", "jpeg": self = .image("image/jpeg")
        case "gif": self = .image("image/gif")
        case "webp": self = .image("image/webp")
        case "svg": self = .image("image/svg+xml")
        case "html", "htm": self = .page
        case "json": self = .json
        case "csv": self = .table(",")
        case "tsv": self = .table("\t")
        case "parquet", "pq": self = .parquet
        case "txt", "md", "log", "yaml", "yml", "py", "toml", "cfg", "ini", "sql", "xml", "sh": self = .text
        default: self = .other
        }
    }

    /// The type under which the browser may show it; nil when it is only downloaded.
    var type: String? {
        switch self {
        case .image(let type): type
        case .page: "text/html; charset=utf-8"
        case .json, .table, .text: "text/plain; charset=utf-8"
        case .parquet, .other: nil
        }
    }
}

extension ArtifactContent {
    /// Up to `count` bytes; it blocks.
    fileprivate func bytes(at start: Int64, count: Int) throws -> [UInt8] {
        guard count > 0 else { return [] }
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        defer { block.deallocate() }
        var filled = 0
        while filled < count {
            let got = try reader.read(at: start + Int64(filled), into: UnsafeMutableRawBufferPointer(rebasing: block[filled...]))
            if got == 0 { break }
            filled += got
        }
        return Array(block[..<filled])
    }
}
