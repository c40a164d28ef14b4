import Contracts
import Foundation
import Importing
import KeelClient
import Tracking

/// The artifacts of one run or logged model: where they lie, and where they go.
struct ArtifactRoot: Sendable {
    let name: String
    let uri: String
    let target: String
}

extension MLflowSource {
    /// The next runs, and where their artifacts lie; nil for those of experiments that are not brought.
    func runRoots(after id: String, _ map: ExperimentMap) throws -> [(id: String, root: ArtifactRoot?)] {
        try runs(after: id, limit: Importer.batch).map { row in
            let id = row.text("run_uuid")
            let root = map[row.text("experiment_id")].map {
                ArtifactRoot(name: "run \(id)", uri: row.text("artifact_uri"), target: ArtifactPlaces.runURI($0, id))
            }
            return (id, root)
        }
    }

    func modelRoots(after id: String, _ map: ExperimentMap) throws -> [(id: String, root: ArtifactRoot?)] {
        try loggedModels(after: id, limit: Importer.batch).map { row in
            let id = row.text("model_id")
            let root = map[row.text("experiment_id")].map {
                ArtifactRoot(name: "logged model \(id)", uri: row.text("artifact_location"), target: ArtifactPlaces.modelURI($0, id))
            }
            return (id, root)
        }
    }
}

private struct LocalFile: Sendable {
    let path: String
    let key: String
    let bytes: Int64
}

extension Importer {
    func artifacts() async throws {
        let before = sent
        let bytesBefore = result.artifactBytes
        for isRun in [true, false] {
            var last = ""
            while true {
                let (after, map) = (last, map)
                let batch = try await read { isRun ? try $0.runRoots(after: after, map) : try $0.modelRoots(after: after, map) }
                guard let end = batch.last?.id else { break }
                last = end
                for root in batch.compactMap(\.root) { try await artifacts(of: root) }
            }
        }
        if pass == .bring, sent > before {
            try await server.recordArtifacts(files: sent - before, bytes: result.artifactBytes - bytesBefore)
        }
    }

    private func artifacts(of root: ArtifactRoot) async throws {
        guard !root.uri.isEmpty else { return }
        guard let folder = places.root, let relative = places.relative(root.uri), let key = TrackingService.artifactPath(of: root.target)
        else {
            if pass != .verify { result.notBrought.add("the artifacts of \(root.name), which are at \(root.uri)") }
            return
        }
        let (files, strange) = try await Blocking.run { Importer.files(below: "\(folder)/\(relative)", root: folder, key: key) }
        if pass != .verify {
            for path in strange { result.notBrought.add("\(path): a link that leaves the folder of the artifacts, or no file") }
        }
        for start in stride(from: 0, to: files.count, by: Importer.batch) {
            let part = Array(files[start..<min(start + Importer.batch, files.count)])
            let there = try await server.artifacts(part.map(\.key))
            for (file, own) in zip(part, there) { try await artifact(file, own) }
        }
    }

    private func artifact(_ file: LocalFile, _ own: (bytes: Int64, digest: Digest)?) async throws {
        var isSame = false
        // Without a size of its own in common there is nothing to compare.
        if let own, own.bytes == file.bytes { isSame = try await Blocking.run { try Importer.digest(of: file.path) } == own.digest }
        let state: ImportState = isSame ? .same : own == nil ? .new : .changed
        count("artifact files", state, "artifact \(file.key)", sends: !isSame)
        if !isSame, pass != .verify { result.artifactBytes += file.bytes }
        if !isSame, pass == .bring {
            let path =
                "/api/2.0/mlflow-artifacts/artifacts/"
                + file.key.split(separator: "/").map { Importer.escaped(String($0)) }.joined(separator: "/")
            let handle = try Importer.open(file.path)
            defer { try? handle.close() }
            let answer = try await client.upload(.PUT, path, bytes: file.bytes) {
                try await Blocking.run { try handle.read(upToCount: 1 << 18).map { Array($0) } }
            }
            _ = try KeelClient.decode(answer)
        }
        progress("artifact files", nil)
    }

    /// The files below a folder, in order, and what cannot be brought.
    private static func files(below folder: String, root: String, key: String) -> (files: [LocalFile], strange: [String]) {
        guard let names = FileManager.default.enumerator(atPath: folder)?.allObjects as? [String] else { return ([], []) }
        var (files, strange): ([LocalFile], [String]) = ([], [])
        for name in names.sorted() {
            let path = folder + "/" + name
            let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
            guard let attributes = try? FileManager.default.attributesOfItem(atPath: real),
                let type = attributes[.type] as? FileAttributeType
            else {
                strange.append(path)
                continue
            }
            if type == .typeDirectory, real == path || (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) == nil {
                continue
            }
            guard type == .typeRegular, real.hasPrefix(root + "/") else {
                strange.append(path)
                continue
            }
            files.append(LocalFile(path: real, key: "\(key)/\(name)", bytes: attributes[.size] as? Int64 ?? 0))
        }
        return (files, strange)
    }

    private static func digest(of path: String) throws -> Digest {
        let handle = try open(path)
        defer { try? handle.close() }
        var hasher = Digest.Hasher()
        while let data = try handle.read(upToCount: 1 << 20), !data.isEmpty { data.withUnsafeBytes { hasher.update($0) } }
        return hasher.finish()
    }

    private static func open(_ path: String) throws(KeelError) -> FileHandle {
        guard let handle = FileHandle(forReadingAtPath: path) else { throw KeelError(.unavailable, "'\(path)' cannot be read") }
        return handle
    }

    private static func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(CharacterSet(charactersIn: "-._~"))) ?? ""
    }
}
