import Contracts
import Foundation
import TestSupport
import Testing
import Workers

@Suite("The packages that a model needs")
struct RequirementsTests {
    @Test("plain requirements are taken, with extras, versions, markers and hashes")
    func plain() throws {
        let hash = String(repeating: "0a", count: 32)
        let text = """
            # made by MLflow
            mlflow==3.17.2
            numpy>=1.26, <3   # a comment
            uvicorn[standard, extra_one] ~=0.30
            torch==2.13.0+cpu ; python_version >= "3.9" and platform_machine != 'arm64'
            six \\
              ==1.16.0 \\
              --hash=sha256:\(hash) --hash=sha512:\(hash)\(hash)
            zope.interface
            pandas (>=2,<4)
            numpy>=1.26, <3
            epoch===1!2.0.*\r

            """
        let requirements = try Requirements(parsing: text)
        #expect(
            requirements.lines == [
                "epoch===1!2.0.*", "mlflow==3.17.2", "numpy>=1.26,<3", "pandas>=2,<4",
                "six==1.16.0 --hash=sha256:\(hash) --hash=sha512:\(hash)\(hash)",
                "torch==2.13.0+cpu; python_version >= \"3.9\" and platform_machine != 'arm64'", "uvicorn[standard,extra_one]~=0.30",
                "zope.interface",
            ])
        #expect(requirements.names.isSuperset(of: ["mlflow", "zope-interface", "uvicorn"]))
        // What was read reads as itself.
        #expect(try Requirements(parsing: requirements.lines.joined(separator: "\n")) == requirements)
    }

    @Test(
        "what would read a file, call an address or run a program is refused by its line",
        arguments: [
            "-r /etc/passwd", "--requirement=other.txt", "-c constraints.txt", "--index-url https://evil.example/simple",
            "--extra-index-url=http://x",
            "-e .", "--editable git+https://x/y", "git+https://github.com/x/y.git", "file:///etc/passwd", "numpy @ file:///tmp/x.whl",
            "numpy@https://x/y.whl", "https://x/y.whl", "./local.whl", "../up", "/abs/x.whl", "code/x-1.0-py3-none-any.whl", "C:\\x.whl",
            "--pre",
            "numpy==1.0 --global-option=x", "numpy==1.0 -r x", "numpy==1.0; python_version>'3' --index-url x", "numpy==1.0 --hash=md5:00",
            "numpy==1.0 --hash=sha256:00", "numpy==", "numpy[", "numpy[a", "numpy==1.0 $(id)", "numpy==1.0`id`", "${HOME}", "$X",
            "numpy==1;a|b",
            "numpy 1.0", "-", "--", "numpy==1.0\u{0}", "ünicode", "numpy==1.0 -- x", "\u{feff}numpy", "_x", "x-", "@", ";", "[a]",
        ])
    func refused(line: String) {
        let error = #expect(throws: KeelError.self, "\(line)") { try Requirements(parsing: "six==1.0\n\(line)\n") }
        #expect(error?.path == "requirements.txt:2", "\(line): \(String(describing: error))")
    }

    @Test("a text of any kind is an error or requirements that begin with a name", arguments: 0..<100)
    func random(seed: UInt64) {
        var random = Seeded(seed)
        let parts = [
            "numpy", "==", "1.0", " ", "\n", "-", "--hash=sha256:", "[", "]", ";", "'", "@", "\\\n", "#", "é", "/", ":", ",", "(", ")",
            "\0", "*",
        ]
        for _ in 0..<200 {
            let text = (0..<Int.random(in: 0...12, using: &random)).map { _ in parts.randomElement(using: &random)! }.joined()
            guard let requirements = try? Requirements(parsing: text) else { continue }
            for line in requirements.lines {
                #expect(line.first?.isLetter == true || line.first?.isNumber == true, "\(text)")
                #expect(!line.contains("/") && !line.contains("@") && !line.contains("\n") && !line.contains("\0"), "\(text)")
            }
        }
    }

    private func made(_ files: [String: String]) throws -> String {
        let folder = try temporaryFolder()
        for (name, text) in files { try write(text, to: "\(folder)/\(name)") }
        return folder
    }

    private static let conda = """
        channels:
        - conda-forge
        dependencies:
        - python=3.11.7
        - pip<=23.2.1
        - pip:
          - mlflow==3.17.2
          - 'numpy==2.4.6'
        name: mlflow-env
        """

    @Test("the three files of a model say what it needs")
    func files() throws {
        let environment = "python: 3.10.4\nbuild_dependencies:\n- pip==23.2.1\n- setuptools\ndependencies:\n- -r requirements.txt\n"
        let all = try ModelRequirements(
            folder: made(["requirements.txt": "six", "python_env.yaml": environment, "conda.yaml": Self.conda]))
        #expect(all.python == "3.10.4" && all.packages.lines == ["six"])
        let conda = try ModelRequirements(folder: made(["conda.yaml": Self.conda]))
        #expect(conda.python == "3.11.7" && conda.packages.lines == ["mlflow==3.17.2", "numpy==2.4.6"])
        let short = try ModelRequirements(folder: made(["python_env.yaml": "python: '3.11'\ndependencies:\n  - six==1.0\n"]))
        #expect(short.python == "3.11" && short.packages.lines == ["six==1.0"])
        let none = #expect(throws: KeelError.self) { try ModelRequirements(folder: made([:])) }
        #expect(none?.code == .notFound)
    }

    @Test("packages of conda alone are named, and so is what is no plain list")
    func refusedFiles() throws {
        let cuda = Self.conda.replacing("- pip<=23.2.1", with: "- cudatoolkit=11.8\n- scikit-learn=1.5\n- pip")
        let error = #expect(throws: KeelError.self) { try ModelRequirements(folder: made(["conda.yaml": cuda])) }
        #expect(error?.message.contains("cudatoolkit, scikit-learn") == true)
        #expect(
            try ModelRequirements(folder: made(["conda.yaml": cuda, "requirements.txt": "CudaToolkit\nscikit_learn"])).packages.lines.count
                == 2)
        for (name, text) in [
            ("conda.yaml", "dependencies: [a, b]\n  x: {"), ("conda.yaml", "dependencies:\n- pip:\n  - -r /etc/passwd"),
            ("python_env.yaml", "!!python/object:x"),
            ("python_env.yaml", "python: $(id)\ndependencies:\n- six"), ("requirements.txt", "-r /etc/passwd"),
        ] {
            #expect(throws: KeelError.self, "\(text)") { try ModelRequirements(folder: made([name: text])) }
        }
        let folder = try temporaryFolder()
        symlink("/etc/passwd", folder + "/requirements.txt")
        #expect(throws: KeelError.self) { try ModelRequirements(folder: folder) }
        let fifo = try temporaryFolder()
        mkfifo(fifo + "/requirements.txt", 0o600)
        #expect(throws: KeelError.self) { try ModelRequirements(folder: fifo) }
    }
}
