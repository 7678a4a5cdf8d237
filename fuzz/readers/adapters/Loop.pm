# The loop of every adapter in Perl: a path on each line of stdin, a list of files in JSON on stdout.
package Loop;
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use JSON::PP;
use MIME::Base64 qw(encode_base64);

# One leaf: "text" is what a reader shows as the message itself, "file" is what it offers to save.
sub file {
    my ($type, $attached, $name, $octets) = @_;
    $name //= '';
    utf8::encode($octets) if utf8::is_utf8($octets) && !utf8::downgrade($octets, 1);
    my $text = lc($type // 'text/plain') =~ m{^(text/(plain|html)\b|multipart/)} && !$attached && $name eq '';
    $octets =~ s/\r\n/\n/g;
    $octets =~ s/[\r\n]+\z//;
    return [$text ? 'text' : 'file', $name, sha256_hex($octets), length $octets, encode_base64(substr($octets, 0, 65536), '')];
}

sub run {
    my ($files) = @_;
    my $json = JSON::PP->new->ascii->allow_nonref;
    $| = 1;
    while (my $path = <STDIN>) {
        chomp $path;
        local $SIG{__WARN__} = sub { };
        my $answer = eval {
            local $SIG{ALRM} = sub { die "no answer in time\n" };
            alarm 10;
            open my $in, '<:raw', $path or die "$path: $!";
            my $octets = do { local $/; <$in> };
            my @found = $files->($octets);
            \@found;
        };
        my $error = $@;
        alarm 0;
        print $json->encode($answer // { error => "$error" }), "\n";
    }
}

1;
